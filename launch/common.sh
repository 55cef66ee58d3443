# shellcheck shell=bash
# Options are variables that a script names in a list, and what is set here is read there:
# shellcheck disable=SC2034,SC2154
# What the scripts of this folder share: options, --dry_run, and what a TPU topology is called where.
#
# A script names its options in `options` (--NAME=VALUE, each a variable of that name with its default) and `flags`
# (--NAME, empty or 1), then calls `parse "$@"`: words before -- go to `words`, words after it to `job`.

dry_run=
words=()
job=()

die() {
  echo "launch: $*" >&2
  exit 2
}

# Words as they could be typed.
quoted() {
  printf '%q ' "$@" | sed 's/ $//'
  echo
}

# Runs a command and says so; with --dry_run prints it and does nothing.
run() {
  if [[ -n $dry_run ]]; then
    quoted "$@"
  else
    quoted "$@" >&2
    "$@"
  fi
}

usage() {
  # The comment at the head of the script.
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
}

parse() {
  local key
  while (($#)); do
    case $1 in
      --help) usage && exit 0 ;;
      --)
        shift
        job=("$@")
        return
        ;;
      --*=*)
        key=${1%%=*}
        known "${key#--}" "${options:-}" "$1"
        printf -v "${key#--}" %s "${1#*=}"
        ;;
      --*)
        known "${1#--}" "${flags:-} dry_run" "$1"
        printf -v "${1#--}" 1
        ;;
      *) words+=("$1") ;;
    esac
    shift
  done
}

# known NAME NAMES WORD: NAME is one of NAMES, or WORD is refused.
known() {
  [[ " $2 " == *" $1 "* ]] && return
  die "$3: no such option; there are --${options// / --} (with =VALUE), --${flags:+${flags// / --} --}dry_run"
}

# need NAME...: these options were given.
need() {
  local key
  for key in "$@"; do
    [[ -n ${!key} ]] || die "--$key=VALUE is needed; see ${0##*/} --help"
  done
}

# Where hosts find the folder that they share, the same place on all of them.
shared=/mnt/mobilebert

# Reads --nfs, such as 10.0.0.2:/share, and sets: server, share.
read_nfs() {
  [[ $nfs =~ ^[^:]+:/.*$ ]] || die "--nfs=$nfs: SERVER:/FOLDER of an NFS share is needed, such as 10.0.0.2:/share"
  server=${nfs%%:*} share=${nfs#*:}
}

# The command is one of ours and names where it works, which all hosts of a pod must reach.
need_job() {
  case ${job[0]:-} in
    run | prepare | pretrain | distill | finetune) ;;
    '') die "after -- comes what mobilebert shall do, such as: -- run --workdir=$shared/run" ;;
    *) die "${job[0]}: a job is one of run, prepare, pretrain, distill, finetune" ;;
  esac
  [[ " ${job[*]} " == *" --workdir="[^\ ]* ]] ||
    die "-- ${job[0]} ...: --workdir=DIR is needed, one that every host can reach, or --workdir=gs://BUCKET/RUN"
}

# The job's workdir is in a bucket: nothing has to be mounted for it.
in_bucket() {
  [[ " ${job[*]} " == *" --workdir=gs://"* ]]
}

# After need_job: the share is given, unless the workdir is in a bucket.
need_share() {
  in_bucket || need nfs
  [[ -z $nfs ]] || read_nfs
}

whole() {
  [[ ${!1} =~ ^[1-9][0-9]*$ ]] || die "--$1=${!1}: a whole number of at least 1 is needed"
}

# Reads --topology, such as v5e:16x16, and sets: chips, hosts, chips_per_host (in a pod), sizing (how gcloud is told),
# runtime (the TPU VM's software), gke_accelerator, xpk_type.
read_topology() {
  [[ $topology =~ ^(v4|v5e|v5p|v6e|7x):([1-9][0-9]*(x[1-9][0-9]*){1,2})$ ]] ||
    die "--topology=$topology: KIND:SHAPE is needed, such as v5e:16x16; kinds are v4, v5e, v5p, v6e, 7x"
  local kind=${BASH_REMATCH[1]} size
  shape=${BASH_REMATCH[2]}
  chips=1
  for size in ${shape//x/ }; do chips=$((chips * size)); done
  local dimensions=${shape//[^x]/}
  case $kind in
    v5e | v6e) ((${#dimensions} == 1)) || die "--topology=$topology: $kind has two dimensions, such as $kind:4x4" ;;
    *) ((${#dimensions} == 2)) || die "--topology=$topology: $kind has three dimensions, such as $kind:2x2x2" ;;
  esac
  chips_per_host=$((chips < 4 ? chips : 4))
  ((chips % chips_per_host == 0)) || die "--topology=$topology: $chips chips are no whole number of hosts with 4 each"
  hosts=$((chips / chips_per_host))
  case $kind in
    v4) set_names tpu-ubuntu2204-base tpu-v4-podslice "v4-$((2 * chips))" --type=v4 "--topology=$shape" ;;
    v5e) set_names v2-alpha-tpuv5-lite tpu-v5-lite-podslice "v5litepod-$chips" "--accelerator-type=v5litepod-$chips" ;;
    v5p) set_names v2-alpha-tpuv5 tpu-v5p-slice "v5p-$((2 * chips))" "--accelerator-type=v5p-$((2 * chips))" ;;
    v6e) set_names v2-alpha-tpuv6e tpu-v6e-slice "v6e-$chips" "--accelerator-type=v6e-$chips" ;;
    7x) set_names '' tpu7x "tpu7x-$chips" ;;
  esac
}

set_names() {
  runtime=$1 gke_accelerator=$2 xpk_type=$3
  sizing=("${@:4}")
}

# A TPU VM is not to be had of every kind.
need_tpu_vm() {
  [[ -n $runtime ]] || die "--topology=$topology: rented through GKE, see gke.sh and xpk.sh"
}
