#!/usr/bin/env bash
# A run under Slurm on this machine: `make test-slurm`, as root, on Debian or Ubuntu.
#
# Installs slurmctld, slurmd and munge where they are missing, starts them in a folder of
# their own, submits launch/slurm.sbatch for the smoke config with two processes, requeues
# the job in mid-run, and compares what it ends with against a run without Slurm.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bin=${BIN:-.venv/bin}

if ! command -v slurmctld slurmd sbatch munged >/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
fi

folder=$(mktemp -d)
chmod 755 "$folder"
stop() {
  status=$?
  scancel --quiet --full "${job:-0}" 2>/dev/null || true
  for daemon in slurmd slurmctld munged; do
    if [[ -s $folder/$daemon.pid ]]; then kill "$(<"$folder/$daemon.pid")" || true; fi
  done
  if ((status)); then
    echo "--- what the daemons and the job said" >&2
    tail -n 30 "$folder"/*.log "$folder"/*.out >&2 || true
  fi
  sleep 1
  rm -rf "$folder"
  exit "$status"
}
trap stop EXIT

# --- daemons --------------------------------------------------------------------------

host=$(hostname -s)
dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 status=none
chmod 400 "$folder/munge.key"
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
  --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
  --seed-file="$folder/munge.seed"

port() {
  "$bin/python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}
mkdir "$folder/state" "$folder/spool"
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(port)
SlurmdPort=$(port)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=20
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) Gres=gpu:2 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE OverSubscribe=FORCE State=UP
CONF
printf 'Name=gpu File=%s\n' /dev/null /dev/zero >"$folder/gres.conf"  # Two, of no use.
export SLURM_CONF=$folder/slurm.conf
slurmctld
slurmd

for _ in {1..60}; do
  is=$(sinfo --noheader --format=%T 2>/dev/null || true)
  if [[ $is == idle ]]; then break; fi
  sleep 0.5
done
if [[ $is != idle ]]; then
  echo "error: Slurm's node is $is" >&2
  exit 1
fi

# --- the run --------------------------------------------------------------------------

flags=(--config=configs/digits_ga.py:smoke --config.model.name=linear
  --config.train.num_epochs=1000 --config.train.save_every=50)
export JAX_PLATFORMS=cpu JAX_COMPILATION_CACHE_DIR=$folder/cache
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 PYTHON=$bin/python

"$bin/python" main.py "${flags[@]}" --workdir="$folder/alone" >"$folder/alone.out" 2>&1

job=$(sbatch --parsable --ntasks-per-node=2 --gpus-per-node=2 --cpus-per-task=1 \
  --time=00:20:00 --output="$folder/job.out" \
  launch/slurm.sbatch "${flags[@]}" --workdir="$folder/run")
echo "job $job"

state() {
  scontrol --oneliner show job "$job" | sed 's/.*JobState=\([A-Z_]*\).*/\1/'
}
await() {  # await WHAT COMMAND...: until the command succeeds, three minutes at most.
  local what=$1
  shift
  for _ in {1..900}; do
    if "$@"; then
      echo "$what"
      return
    fi
    sleep 0.2
  done
  echo "error: not in three minutes: $what" >&2
  exit 1
}
trains() { grep -q '"stage": "train"' "$folder/run/metrics.jsonl" 2>/dev/null; }
waits() { [[ $(state) == PENDING ]]; }
ended() { [[ $(state) =~ COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL ]]; }

await "it trains" trains
if [[ -e $folder/run/results.json ]]; then
  echo "error: the run was too short to be requeued in its middle" >&2
  exit 1
fi
scontrol requeue "$job"
await "it is requeued" waits
epochs=$(grep -c '"stage": "train"' "$folder/run/metrics.jsonl")
scontrol update jobid="$job" StartTime=now
await "it has ended: $(state)" ended
cat "$folder/job.out"
[[ $(state) == COMPLETED ]]
grep -q "start 1: " "$folder/job.out"
grep -q "going on from" "$folder/job.out"
echo "requeued after $epochs epochs, and ended with $(state)"

"$bin/python" - "$folder/alone" "$folder/run" <<'PYTHON'
import json, pathlib, sys

import numpy as np

one, other = map(pathlib.Path, sys.argv[1:])
for path in sorted(one.glob("poison/*.npz")):
  images = [np.load(f / "poison" / path.name)["images"].astype(int) for f in (one, other)]
  assert np.mean(np.abs(images[0] - images[1]) <= 1) >= 0.999, path.name
counts = sorted(path.relative_to(one) for path in one.glob("certificates/*/*.counts.tsv"))
assert len(counts) == 8
for name in counts:
  assert (one / name).read_text() == (other / name).read_text(), name
rows = [json.loads((f / "results.json").read_text())["rows"] for f in (one, other)]
acrs = [[row["acr_mean"] for row in of_run] for of_run in rows]
np.testing.assert_allclose(*acrs, rtol=0.0, atol=1e-6)
sys.stdout.write(f"as without Slurm: ACR {', '.join(f'{acr:.4f}' for acr in acrs[1])}\n")
PYTHON
echo "$root: test-slurm passed"
