# shellcheck shell=bash
# shellcheck disable=SC2154
# What is done on the hosts of one or more TPU slices, through gcloud's ssh. Reads name, zone, project and nodes.

archive=mobilebert.tar.gz
install="mkdir -p mobilebert && tar -xzf $archive -C mobilebert && curl -LsSf https://astral.sh/uv/install.sh | sh"
# The images' own Python is too old for JAX.
install+=" && .local/bin/uv venv --python=3.12 --clear mobilebert/.venv"
install+=" && .local/bin/uv pip install --python=mobilebert/.venv/bin/python './mobilebert[tpu,gcs]'"

# tpu VERB WORD...: gcloud compute tpus tpu-vm VERB WORD... with zone and project.
tpu() {
  run gcloud compute tpus tpu-vm "$@" "--zone=$zone" ${project:+"--project=$project"}
}

# on_hosts WORKER COMMAND: the command on every host of every slice, or on host WORKER of the first one.
on_hosts() {
  local worker=$1 node
  shift
  for node in "${nodes[@]}"; do
    tpu ssh "$node" "--worker=$worker" "--command=$*" || return
    if [[ $worker != all ]]; then return; fi
  done
}

# The shared folder in its place on every host.
mount_share() {
  on_hosts all "sudo apt-get install -y -q nfs-common && sudo mkdir -p $shared &&" \
    "{ mountpoint -q $shared || sudo mount -t nfs $nfs $shared; } && sudo chmod a+rwx $shared"
}

# The committed code of this checkout and what it needs, on every host.
set_up() {
  local root node
  root=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel) || die "set up from a git checkout of the project"
  run mkdir -p "$root/build"
  run git -C "$root" archive --format=tar.gz --output="$root/build/$archive" HEAD
  for node in "${nodes[@]}"; do
    tpu scp "$root/build/$archive" "$node:" --worker=all
  done
  on_hosts all "$install"
  if [[ -n $nfs ]]; then mount_share; fi
}

# The job on every host, again after each exit with 42; it outlives the ssh session.
start() {
  on_hosts all "setsid nohup bash mobilebert/launch/keep_running.sh mobilebert.state" \
    "mobilebert/.venv/bin/mobilebert $(quoted "${job[@]}") >>mobilebert.log 2>&1 </dev/null &"
}
