"""A run that finds the compiled programs of an earlier one, against a run that finds none.

Both are the attack's stage of the smoke config, in a process each, since a process keeps
what it has compiled; the user's cache folder is a temporary one.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from pacd_jax.bench import entry

_TURNS = 2


def _run(cache: pathlib.Path, workdir: pathlib.Path) -> float:
  """Seconds of a process that runs the stage, from its start to its end."""
  command = [sys.executable, "-m", "pacd_jax", "run", "digits_ga:smoke"]
  command += ["--stage=attack", f"--workdir={workdir}"]
  environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
  environment.pop("JAX_COMPILATION_CACHE_DIR", None)
  environment.pop("JAX_ENABLE_COMPILATION_CACHE", None)
  start = time.perf_counter()
  done = subprocess.run(command, env=environment, capture_output=True, text=True)
  seconds = time.perf_counter() - start
  if done.returncode:
    raise RuntimeError(f"bench: {' '.join(command)} failed:\n{done.stderr}")
  return seconds


def _programs(cache: pathlib.Path) -> set[str]:
  return {path.name for path in cache.rglob("*-cache")}


def measure() -> entry.Row:
  """The row of `bench.json`: of runs a second.

  It has more: "programs", how many a run without kept ones compiled, and "compiled_again",
  how many of a run with them were not found.
  """
  found, kept, again = [], 0, 0
  for _ in range(_TURNS):
    with tempfile.TemporaryDirectory() as name:
      cache = pathlib.Path(name, "cache")
      first = _run(cache, pathlib.Path(name, "first"))
      programs = _programs(cache)
      second = _run(cache, pathlib.Path(name, "second"))
      found.append((second, first))
      kept, again = len(programs), len(_programs(cache) - programs)
  return entry.row(found, (1.0, 1.0), "runs/s") | {
    "programs": kept,
    "compiled_again": again,
  }


ENTRIES = {"programs_kept": measure}
