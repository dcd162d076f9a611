"""Whether a process's memory is flat over the steps of an attack and epochs of victims.

  python -m pacd_jax.bench.growth_resident steps 100

The loop is that of every stage (`runtime/loop.py`), with metrics and checkpoints. After
N, 2 N and 4 N steps it tells the process's peak resident memory since its first step, when
everything is compiled, and the bytes of the arrays that JAX holds. A process of its own
measures each, since a process has one peak.
"""

import contextlib
import functools
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax

from pacd_jax.bench import growth_work
from pacd_jax.runtime import checkpoint, loop, metrics, sharding

_SELF = pathlib.Path("/proc/self")
PROGRAMS: dict[str, Callable[[], growth_work.Program]] = {
  "steps": functools.partial(growth_work.attack_program, poison=20, clean=20, side=8),
  "epochs": functools.partial(growth_work.epoch_program, images=400, side=8),
}
_HEADLINES = {"steps": "upper", "epochs": "loss"}


class Resident(NamedTuple):
  """A process's memory after N, 2 N and 4 N steps."""

  number: int  # N
  peak: list[int]  # Bytes, so far.
  live: list[int]  # Bytes of JAX's arrays then.


def _restart_peak() -> None:
  """The peak is that of what follows, where the system can: on Linux."""
  with contextlib.suppress(OSError):
    (_SELF / "clear_refs").write_text("5", encoding="utf-8")


def _peak_bytes() -> int:
  """The peak of this process alone: `ru_maxrss` is at least the parent's at its start."""
  with contextlib.suppress(OSError):
    for line in (_SELF / "status").read_text(encoding="utf-8").splitlines():
      if line.startswith("VmHWM:"):
        return 1024 * int(line.split()[1])
  of_unit = 1 if sys.platform == "darwin" else 1024
  return of_unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def here(program: growth_work.Program, number: int, headline: str) -> Resident:
  """Runs 4 `number` steps of a program in this process."""
  found = Resident(number, [], [])

  def on_metrics(stage, step, values):
    del stage, values
    if step == 0:
      _restart_peak()
    if step + 1 in (number, 2 * number, 4 * number):
      found.peak.append(_peak_bytes())
      found.live.append(sum(array.nbytes for array in jax.live_arrays()))

  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    with checkpoint.Checkpoints(folder / "checkpoints", "growth") as checkpoints:
      loop.run(
        "growth",
        lambda state, step: program.step(state),
        program.state,
        4 * number,
        checkpoints=checkpoints,
        metrics_file=metrics.MetricsFile(folder / "metrics.jsonl"),
        save_every=number,
        headline=headline,
        on_metrics=on_metrics,
      )
  return found


def measure(kind: str, number: int) -> Resident:
  """`here` in a process of its own.

  Raises:
    RuntimeError: it failed; has what it said.
  """
  command = [sys.executable, "-m", "pacd_jax.bench.growth_resident", kind, str(number)]
  done = subprocess.run(command, capture_output=True, text=True)
  if done.returncode:
    raise RuntimeError(f"bench: {' '.join(command)} failed:\n{done.stderr}")
  return Resident(**json.loads(done.stdout))


def main(kind: str, number: str) -> int:
  """Measures in this process and prints the figures; returns the exit status."""
  sharding.cores_as_devices()
  found = here(PROGRAMS[kind](), int(number), _HEADLINES[kind])
  sys.stdout.write(json.dumps(found._asdict()) + "\n")
  return 0


if __name__ == "__main__":
  sys.exit(main(*sys.argv[1:]))
