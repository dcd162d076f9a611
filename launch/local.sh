#!/usr/bin/env bash
# Starts several processes of one run on this machine; ends them all if one fails.
#
#   launch/local.sh [-n PROCESSES] [-r RESTARTS] COMMAND...
#   launch/local.sh -n 2 .venv/bin/python main.py --config=configs/digits_ga.py:smoke
#
# One process uses every GPU of a machine by itself: this is for more processes than that,
# such as one for each socket, and for trying a run of several processes before it goes to a
# cluster. With -r, a run that was killed is started again, at most so many times, and
# resumes from its checkpoints; not after bad input (2) or a number that is not finite (3).
set -uo pipefail

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 501)); then
  echo "error: bash $BASH_VERSION is too old: local.sh needs 5.1" >&2  # wait -p
  exit 2
fi

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
}

processes=2 restarts=0
while getopts "n:r:h" option; do
  case $option in
    n) processes=$OPTARG ;;
    r) restarts=$OPTARG ;;
    h) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
done
shift $((OPTIND - 1))
for number in "$processes" "$restarts"; do
  if ! [[ $number =~ ^[0-9]+$ ]]; then
    echo "error: $number is not a whole number" >&2
    exit 2
  fi
done
if (($# == 0 || processes < 1)); then
  usage >&2
  exit 2
fi
if ! command -v "$1" >/dev/null; then
  echo "error: $1 is no command" >&2
  exit 2
fi

free_port() {
  local port
  for _ in {1..50}; do
    port=$((20000 + RANDOM % 12000))  # Below the ports that the system gives out.
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  echo "error: no free port" >&2
  exit 2
}

# The processes are here: none of them is to ask a cluster's proxy for another.
export no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}"
export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"

pids=() asked=0
on_signal() {  # SIGTERM reaches all, which save the step under way.
  asked=1
  mapfile -t running < <(jobs -rp)
  kill -TERM "${running[@]}" 2>/dev/null
}
trap on_signal TERM INT

# The status of the process that failed first, or 0.
run_once() {
  local port status=0 failed=0 ended
  port=$(free_port) || exit 2
  pids=()
  for ((i = 0; i < processes && !asked; i++)); do
    "$@" --coordinator_address="127.0.0.1:$port" --num_processes="$processes" \
      --process_id="$i" &
    pids+=($!)
  done
  while :; do
    wait -n -p ended
    status=$?
    # No process is left: one that ends with 127 itself would be named in `ended`.
    if ((status == 127)) && [[ -z ${ended:-} ]]; then break; fi
    if ((status && !failed)); then
      failed=$status
      # 143: all processes are saving. Otherwise the others would wait for the lost one.
      ((asked || status == 143)) || kill -KILL "${pids[@]}" 2>/dev/null
    fi
  done
  return "$failed"
}

for ((attempt = 0; ; attempt++)); do
  run_once "$@"
  status=$?
  if ((status == 0 || status == 2 || status == 3 || asked || attempt >= restarts)); then
    exit "$status"
  fi
  echo "local.sh: a process ended with $status: starting again" >&2
done
