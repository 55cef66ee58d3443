#!/usr/bin/env bash
# A run as a workload of XPK (pip install xpk) on a cluster that `xpk cluster create` has made.
#
#   xpk.sh start --name=NAME --cluster=CLUSTER --zone=ZONE --image=IMAGE --topology=v5e:16x16 [--slices=2]
#                [--storage=STORAGE] -- run --config=... --workdir=gs://BUCKET/RUN
#   xpk.sh status | stop --name=NAME --cluster=CLUSTER --zone=ZONE
#
# XPK restarts a workload on exit 42 as it is, but by default not once: hence --max_restarts=1000. Where the workdir is
# not in a bucket, it lies in a storage of `xpk storage attach`, which says where it is mounted. `stop` saves and ends;
# `start` with the same words goes on. Options: --project=PROJECT, --dry_run (prints the command, runs none).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

options="name cluster zone project image topology storage slices max_restarts" flags=
name='' cluster='' zone='' project='' image='' topology='' storage='' slices=1 max_restarts=1000
parse "$@"
((${#words[@]} == 1)) || die "one of start, status, stop is needed; see xpk.sh --help"
[[ -n $dry_run ]] || command -v xpk >/dev/null || die "xpk is not installed: pip install xpk"
need name cluster zone

workload() {
  run xpk workload "$@" "--cluster=$cluster" "--zone=$zone" ${project:+"--project=$project"}
}

case ${words[0]} in
  start)
    need image topology
    whole slices
    whole max_restarts
    read_topology
    need_job
    in_bucket || need storage
    workload create "--workload=$name" "--tpu-type=$xpk_type" "--num-slices=$slices" "--docker-image=$image" \
      ${storage:+"--storage=$storage"} "--max-restarts=$max_restarts" --termination-grace-period-seconds=120 "--command=$(quoted mobilebert "${job[@]}")"
    ;;
  status) workload list "--filter-by-job=$name" ;;
  stop) workload delete "--workload=$name" --force ;;
  *) die "${words[0]}: one of start, status, stop is needed" ;;
esac
