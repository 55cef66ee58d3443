#!/usr/bin/env bash
# A run on GPU hosts under SLURM, one process a GPU.
#
#   slurm.sh --nodes=4 --gpus=8 --time=1-00:00:00 [--partition=NAME] [--account=NAME] [--name=mobilebert]
#            -- run --config=... --workdir=/shared/...
#
# Run in the project's folder, on a file system that all hosts see, with .venv there (pip install -e '.[cuda]'). The job
# is put back in the queue after a preemption, before its time is over, and whenever it ends with 42; it goes on from its
# last checkpoint. Watch: tail -F NAME-JOBID.log; stop for good: scancel JOBID. --dry_run prints the command, runs none.
set -euo pipefail

# SLURM runs a copy of this file as the job: everything it needs is in it.
if [[ -n ${SLURM_JOB_ID:-} && -n ${MOBILEBERT_JOB:-} ]]; then
  code=0
  eval "words=($MOBILEBERT_JOB)"
  # shellcheck disable=SC2154
  srun --kill-on-bad-exit=0 .venv/bin/mobilebert "${words[@]}" || code=$?
  if ((code == 42)); then scontrol requeue "$SLURM_JOB_ID"; fi
  exit "$code"
fi

# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck disable=SC2034
options="nodes gpus time partition account name" flags=
nodes='' gpus='' time='' partition='' account='' name=mobilebert
parse "$@"
((${#words[@]} == 0)) || die "${words[0]}: options begin with --; see slurm.sh --help"
[[ -n $dry_run ]] || command -v sbatch >/dev/null || die "sbatch is not installed: this is no SLURM host"
need nodes gpus time
whole nodes
whole gpus
need_job
run env "MOBILEBERT_JOB=$(quoted "${job[@]}")" sbatch "--job-name=$name" "--nodes=$nodes" "--ntasks-per-node=$gpus" \
  "--gpus-per-node=$gpus" "--time=$time" ${partition:+"--partition=$partition"} ${account:+"--account=$account"} \
  --requeue --open-mode=append --signal=TERM@300 "--output=$name-%j.log" "$0"
