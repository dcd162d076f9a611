#!/usr/bin/env bash
# Prints the name of a Python 3.11 or later that can make virtual environments; installs one
# by apt where there is none, such as on a TPU VM of Ubuntu 22.04, which has Python 3.10.
set -uo pipefail

find_one() {
  local each
  for each in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$each" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
    then
      echo "$each"
      return
    fi
  done
  return 1
}

find_one && exit
wait=(-o DPkg::Lock::Timeout=300)  # A new machine may be installing its updates.
{
  sudo apt-get "${wait[@]}" update -qq
  sudo apt-get "${wait[@]}" install -y -qq python3.11 python3.11-venv
} >&2
if ! find_one; then
  echo "error: there is no Python of 3.11 or later with its venv, nor one from apt" >&2
  exit 2
fi
