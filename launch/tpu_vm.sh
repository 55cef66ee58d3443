#!/usr/bin/env bash
# One slice of Cloud TPU VMs, rented by the hour: a single host or a pod, the same code.
#
#   tpu_vm.sh create --name=NAME --zone=ZONE --topology=v5e:4x4 [--spot]     rent it
#   tpu_vm.sh setup  --name=NAME --zone=ZONE [--nfs=10.0.0.2:/share]         this checkout's commit on every host
#   tpu_vm.sh start  --name=NAME --zone=ZONE -- run --config=... --workdir=gs://BUCKET/RUN
#   tpu_vm.sh watch | status | stop | delete  --name=NAME --zone=ZONE
#
# Options: --project=PROJECT (default: gcloud's own), --dry_run (prints the commands, runs none).
# --nfs puts a share at /mnt/mobilebert: what the hosts of a pod need where --workdir is not in a bucket.
# `stop` saves on all hosts and leaves; `start` with the same words goes on. `delete` ends the costs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=hosts.sh
source "$(dirname "${BASH_SOURCE[0]}")/hosts.sh"

options="name zone project topology nfs" flags=spot
name='' zone='' project='' topology='' nfs='' spot=''
parse "$@"
((${#words[@]} == 1)) || die "one of create, setup, start, watch, status, stop, delete is needed; see tpu_vm.sh --help"
[[ -n $dry_run ]] || command -v gcloud >/dev/null || die "gcloud is not installed: cloud.google.com/sdk/docs/install"
need name zone
nodes=("$name")
[[ -z $nfs ]] || read_nfs

case ${words[0]} in
  create)
    need topology
    read_topology
    need_tpu_vm
    tpu create "$name" "${sizing[@]}" "--version=$runtime" ${spot:+--spot}
    ;;
  setup) set_up ;;
  start)
    need_job
    start
    ;;
  watch) on_hosts 0 "tail -n 40 -F mobilebert.log" ;;
  status) on_hosts all "hostname && cat mobilebert.state && tail -n 1 mobilebert.log" ;;
  stop)
    # shellcheck disable=SC2016 # the host expands it
    on_hosts all 'read -r what pid <mobilebert.state; if [[ $what == running ]]; then kill -TERM $pid; fi'
    ;;
  delete) tpu delete "$name" --quiet ;;
  *) die "${words[0]}: one of create, setup, start, watch, status, stop, delete is needed" ;;
esac
