#!/usr/bin/env bash
# Runs on a Cloud TPU slice: creates it, installs, runs on all workers, fetches, deletes.
#
#   launch/tpu_pod.sh [-n] NAME COMMAND...
#   TYPE=v5litepod-8 ZONE=us-west4-a launch/tpu_pod.sh mine \
#       main.py --config=configs/cifar10_ga.py --config.data.data_dir=/mnt/share/data
#
# With -n it prints each command and runs none. The variables of the environment:
#   TYPE     the slice, such as v5litepod-8 (one host) or v5litepod-32 (several)
#   ZONE     where
#   VERSION  runtime of the TPU VM; v2-alpha-tpuv5-lite by default
#   SHARE    HOST:/PATH of an NFS server, mounted at /mnt/share: the run's folder has to be
#            shared by the hosts where there are several
#   SPOT     1: cheaper, and may be taken away; with SHARE, the same command then resumes it
#   KEEP     1: the slice is not deleted
# The run's folder is /mnt/share/runs/NAME, or ~/runs/NAME without SHARE, which is deleted
# with the slice; its files are fetched to runs/NAME here.
set -euo pipefail

dry=0
if [[ ${1:-} == -n ]]; then
  dry=1
  shift
fi
if (($# < 2)) || [[ $1 == -* ]]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
fi
name=$1
shift
for needed in TYPE ZONE; do
  if [[ -z ${!needed:-} ]]; then
    echo "error: $needed is not set: see the head of $0" >&2
    exit 2
  fi
done
version=${VERSION:-v2-alpha-tpuv5-lite}

run() {
  printf '+'
  printf ' %q' "$@"
  printf '\n'
  ((dry)) || "$@"
}

on() {  # on WORKER COMMAND: in a shell of that worker, or of all.
  run gcloud compute tpus tpu-vm ssh "$name" --zone="$ZONE" --worker="$1" --command="$2"
}

# shellcheck disable=SC2329  # By the trap.
delete() {
  if [[ ${KEEP:-0} != 1 ]]; then
    run gcloud compute tpus tpu-vm delete "$name" --zone="$ZONE" --quiet
  fi
}

spot=()
[[ ${SPOT:-0} == 1 ]] && spot=(--spot)
run gcloud compute tpus tpu-vm create "$name" --zone="$ZONE" \
  --accelerator-type="$TYPE" --version="$version" "${spot[@]}"
trap delete EXIT

# The clone as committed, and a virtual environment with JAX for TPUs, on every worker.
archive=${TMPDIR:-/tmp}/$name.tar.gz
run git archive --format=tar.gz --output="$archive" HEAD
run gcloud compute tpus tpu-vm scp "$archive" "$name:pacd_jax.tar.gz" \
  --zone="$ZONE" --worker=all
on all "mkdir -p pacd_jax && tar -xzf pacd_jax.tar.gz -C pacd_jax && cd pacd_jax \
&& python=\$(launch/find_python.sh) && \$python -m venv .venv \
&& .venv/bin/pip install --quiet --editable '.[tpu]'"

folder="\$HOME/runs/$name"  # The worker's.
if [[ -n ${SHARE:-} ]]; then
  folder=/mnt/share/runs/$name
  on all "sudo apt-get install -y nfs-common && sudo mkdir -p /mnt/share \
&& { mountpoint -q /mnt/share || sudo mount -t nfs $SHARE /mnt/share; }"
fi

# Workers find each other by the TPU's metadata.
status=0
on all "cd pacd_jax && .venv/bin/python $(printf '%q ' "$@") --workdir=$folder" || status=$?

# Fetches what was written, after a failed run too: all but the checkpoints, which stay on
# SHARE.
run mkdir -p runs
on 0 "tar -czf run.tar.gz --exclude=checkpoints -C $folder/.. $name" || status=$?
run gcloud compute tpus tpu-vm scp "$name:run.tar.gz" "runs/$name.tar.gz" \
  --zone="$ZONE" --worker=0 || status=$?
run tar -xzf "runs/$name.tar.gz" -C runs || status=$?
exit "$status"
