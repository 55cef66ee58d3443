#!/usr/bin/env bash
# A run as a JobSet on a GKE cluster with TPU node pools (kubectl and the JobSet controller must be there).
#
#   gke.sh start  --name=NAME --image=IMAGE --topology=v5e:16x16 [--slices=2] [--spot]
#                 -- run --config=... --workdir=gs://BUCKET/RUN
#   gke.sh start  ... --nfs=10.0.0.2:/share -- run --config=... --workdir=/mnt/mobilebert/run
#   gke.sh watch  --name=NAME        the log of the first host
#   gke.sh status --name=NAME
#   gke.sh stop   --name=NAME        saves and ends; `start` with the same words goes on
#
# Options: --max_restarts=1000, --service_account=default, --namespace=default, --dry_run (prints the commands and the
# JobSet, runs nothing).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

options="name image topology nfs slices max_restarts service_account namespace" flags=spot
# shellcheck disable=SC2034 # some are read by their names
name='' image='' topology='' nfs='' slices=1 max_restarts=1000 service_account=default namespace=default spot=''
parse "$@"
((${#words[@]} == 1)) || die "one of start, watch, status, stop is needed; see gke.sh --help"
[[ -n $dry_run ]] || command -v kubectl >/dev/null || die "kubectl is not installed: kubernetes.io/docs/tasks/tools"
need name
# The pods' names add to it, and they are host names.
[[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] || die "--name=$name: up to 40 of a-z, 0-9 and -, a letter first"

# The job's words as a JSON list, which is YAML too.
json_words() {
  local word list=''
  for word in "$@"; do
    word=${word//\\/\\\\}
    list+=", \"${word//\"/\\\"}\""
  done
  echo "[${list:2}]"
}

# shellcheck disable=SC2034 # some are read by their names
manifest() {
  local text key
  text=$(cat "$(dirname "${BASH_SOURCE[0]}")/jobset.yaml")
  local args accelerator=$gke_accelerator
  args=$(json_words "${job[@]}")
  if [[ -n $spot ]]; then
    local line="nodeSelector:"
    text=${text/"$line"/"$line"$'\n                cloud.google.com/gke-spot: "true"'}
  fi
  if [[ -z $nfs ]]; then
    text=$(sed '/^ *volumes:$/,/^ *path: @share@$/d; /^ *volumeMounts:$/,/^ *mountPath: @shared@$/d' <<<"$text")
  fi
  for key in name max_restarts slices hosts service_account accelerator shape image args chips_per_host shared server share; do
    text=${text//"@$key@"/"${!key-}"}
  done
  printf '%s\n' "$text"
}

pods="jobset.sigs.k8s.io/jobset-name=$name"
case ${words[0]} in
  start)
    need image topology
    whole slices
    whole max_restarts
    read_topology
    need_job
    need_share
    if [[ -n $dry_run ]]; then
      echo "kubectl apply --namespace=$namespace -f - <<'END'"
      manifest
      echo END
    else
      manifest | kubectl apply "--namespace=$namespace" -f -
    fi
    ;;
  watch)
    first="$pods,jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"
    run kubectl logs "--namespace=$namespace" --follow --tail=40 "--selector=$first"
    ;;
  status)
    run kubectl get "--namespace=$namespace" jobset "$name"
    run kubectl get "--namespace=$namespace" pods "--selector=$pods"
    ;;
  stop) run kubectl delete "--namespace=$namespace" "jobset/$name" ;;
  *) die "${words[0]}: one of start, watch, status, stop is needed" ;;
esac
