#!/usr/bin/env bash
# Cloud TPU slices from the queue, by default spot: rented when there are some, again after each preemption, until the
# job has ended. The run goes on from its last checkpoint each time.
#
#   queued.sh run    --name=NAME --zone=ZONE --topology=v5e:16x16 [--slices=2] [--on_demand | --reserved]
#                    -- run --config=... --workdir=gs://BUCKET/RUN
#   queued.sh run    ... --nfs=10.0.0.2:/share -- run --config=... --workdir=/mnt/mobilebert/run
#   queued.sh status --name=NAME --zone=ZONE
#   queued.sh delete --name=NAME --zone=ZONE                 ends the costs; the run's folder stays
#
# `run` stays in the foreground, best in tmux on a small machine that stays on, and may itself be stopped and started
# again. Options: --project=PROJECT, --poll=60 (seconds between two looks), --dry_run (prints the commands, runs none).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=hosts.sh
source "$(dirname "${BASH_SOURCE[0]}")/hosts.sh"

options="name zone project topology nfs slices poll" flags="on_demand reserved"
name='' zone='' project='' topology='' nfs='' slices=1 poll=60 on_demand='' reserved=''
parse "$@"
((${#words[@]} == 1)) || die "one of run, status, delete is needed; see queued.sh --help"
[[ -n $dry_run ]] || command -v gcloud >/dev/null || die "gcloud is not installed: cloud.google.com/sdk/docs/install"
need name zone
whole slices
whole poll

# queue VERB WORD...: gcloud compute tpus queued-resources VERB NAME WORD...
queue() {
  local verb=$1
  shift
  run gcloud compute tpus queued-resources "$verb" "$name" "$@" "--zone=$zone" ${project:+"--project=$project"}
}

create() {
  local terms=--spot placing=("--node-id=$name")
  if ((slices > 1)); then placing=("--node-count=$slices" "--node-prefix=$name"); fi
  if [[ -n $reserved ]]; then terms=--reserved; fi
  if [[ -n $on_demand ]]; then terms=; fi
  queue create "${placing[@]}" "${sizing[@]}" "--runtime-version=$runtime" ${terms:+"$terms"} --async
}

# The state of the request, NONE where there is none.
request_state() {
  queue describe '--format=value(state.state)' 2>/dev/null | tail -n 1 || echo NONE
}

# The state of the job on the first host: `running PID`, `ended CODE`, or nothing where it was never started.
job_state() {
  on_hosts 0 "cat mobilebert.state 2>/dev/null || true" 2>/dev/null | tail -n 1
}

# One look: rents, starts, gives back, or leaves things as they are. Exits when the job has ended.
look() {
  local state what code
  state=$(request_state)
  echo "$(date -u +%FT%TZ) $name: $state" >&2
  case $state in
    NONE) create ;;
    SUSPENDED | FAILED) queue delete --force --quiet ;;
    ACTIVE)
      read -r what code <<<"$(job_state)" || true
      case $what in
        running) ;;
        ended)
          if ((code != 42)); then
            echo "$name: the job ended with $code; queued.sh delete ends the costs" >&2
            exit "$code"
          fi
          start
          ;;
        *)
          set_up
          start
          ;;
      esac
      ;;
  esac
}

# What `run` does from the first look to the last, without looking.
rehearse() {
  echo "# when there is no request"
  create
  echo "# when the request is ACTIVE and the job was never started"
  set_up
  start
  echo "# when the request is SUSPENDED (preempted) or FAILED; then again from the top"
  queue delete --force --quiet
}

nodes=("$name")
if ((slices > 1)); then
  nodes=()
  for ((i = 0; i < slices; i++)); do nodes+=("$name-$i"); done
fi
case ${words[0]} in
  run)
    need topology
    read_topology
    need_tpu_vm
    need_job
    need_share
    if [[ -n $dry_run ]]; then
      rehearse
      exit 0
    fi
    while :; do
      look || echo "$name: that did not work, trying again in $poll seconds" >&2
      sleep "$poll"
    done
    ;;
  status) queue describe '--format=value(state.state)' ;;
  delete) queue delete --force --quiet ;;
  *) die "${words[0]}: one of run, status, delete is needed" ;;
esac
