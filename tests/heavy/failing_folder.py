"""Real faults in the middle of a run: a full disk, a read-only folder, a clock that jumps.

  make test-surroundings          (Linux, as root: it mounts small file systems)
  python tests/heavy/failing_folder.py [--moments=12] [--folder=runs/failing] [--seed=0]

Each run of `kill_cases.py` begins on a file system of its own, in memory. Before one of its
changes of files, the disk becomes full but for some bytes, or the folder read-only: the run
must end with one line that names a file there, and with status 5 (2 before its first work).
Then there is room again, and the same command must leave what an unbroken run leaves. A
second process must be refused at every moment, and a clock may jump.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import forked_life
import kills

_CASES = (
  "attack",
  "selection",
  "baselines",
  "defended",
  "ensembles",
  "transfer",
  "paper",
  "export",
)
_DAY, _YEAR = 86_400.0, 365 * 86_400.0

_FAULTS = ("full", "read_only", "clock", "second")
_LOCKS_NOTHING = ("export",)  # Two at a time leave one whole folder.


def _mount(*arguments: str | pathlib.Path) -> None:
  done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
  if done.returncode:
    sys.exit(f"error: mount: {done.stderr.strip()}: run this as root, where it may mount")


def _unmount(folder: pathlib.Path) -> None:
  subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(folder: pathlib.Path, left: int) -> None:
  """Leaves room for so many bytes, rounded up to blocks."""
  free = os.statvfs(folder)
  size = max(0, free.f_bavail * free.f_frsize - left)
  with open(folder / "filler", "wb") as file:
    os.posix_fallocate(file.fileno(), 0, max(1, size))


def _jump(seconds: float) -> None:
  """Sets this process's clock, as far as Python shows it."""
  clock, clock_ns = time.time, time.time_ns
  time.time = lambda: clock() + seconds
  time.time_ns = lambda: clock_ns() + int(seconds * 1e9)


class _Faults:
  """The faults of one case, on a file system of its own."""

  def __init__(self, name: str, folder: pathlib.Path):
    self._name, self._folder = name, folder
    self._disk = folder / "disk"
    self._run = self._disk / "run"
    self._log = self._disk.with_name("run.log")

  def live(self, change: int = 0, before: Callable[[], None] = lambda: None):
    moment = forked_life.Moment(change=change, delay=-1.0, before=before)
    arguments = kills.kill_cases.CASES[self._name].arguments
    return forked_life.live(
      arguments(self._run, self._folder / "unbroken"), self._run, self._log, moment
    )

  def fault(self, fault: str, change: int, draws: random.Random) -> str:
    """What is wrong about one run with one fault; "" if nothing is."""
    self._disk.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", self._disk)
    self._run.mkdir()
    try:
      return getattr(self, f"_{fault}")(change, draws)
    finally:
      _unmount(self._disk)

  def _full(self, change: int, draws: random.Random) -> str:
    left = draws.choice([0, 4096, 20_000])
    life = self.live(change, lambda: _fill(self._disk, left))
    wrong = self._ended_well(life, "No space left on device: make room")
    (self._disk / "filler").unlink(missing_ok=True)
    return wrong or self._again(life)

  def _read_only(self, change: int, draws: random.Random) -> str:
    del draws

    def bind():  # Over it: the run keeps open what it has.
      _mount("--bind", self._run, self._run)
      _mount("-o", "remount,bind,ro", self._run)

    life = self.live(change, bind)
    wrong = self._ended_well(life, "Read-only file system: make it writable")
    subprocess.run(["umount", "--lazy", self._run], capture_output=True)  # If it is one.
    return wrong or self._again(life)

  def _clock(self, change: int, draws: random.Random) -> str:
    jump = draws.choice([-_DAY, _YEAR])
    wrong = self._finished(self.live(change, lambda: _jump(jump)))
    said = self._log.read_text(errors="replace")
    return wrong or ("a negative time" if re.search(r"-\d[\d.]* \w+/s|-\d+:", said) else "")

  def _second(self, change: int, draws: random.Random) -> str:
    del draws
    said = self._folder / "second.log"

    def begin():
      with open(said, "wb") as file:
        subprocess.run(
          [sys.executable, "-m", "pacd_jax", *self._arguments()], stderr=file, check=False
        )

    wrong = self._finished(self.live(change, begin))
    words = said.read_text() if said.exists() else ""
    if not words and self._name == "paper" and not wrong:
      return ""  # All runs were done, and the tables are written whole.
    # Runs of the paper's tables are locked one by one, each after its heading.
    heading = r"(.* \(\d+ of \d+ runs\)\n)?"
    if said.exists() and not re.fullmatch(
      heading + r"error: .* is in use by another .*\n", words
    ):
      return f"the second process says {words[-300:]!r}"
    return wrong

  def _arguments(self) -> tuple[str, ...]:
    case = kills.kill_cases.CASES[self._name]
    return case.arguments(self._run, self._folder / "unbroken")

  def _ended_well(self, life: forked_life.Life, reason: str) -> str:
    """That a life ended by the fault with one line, or finished before it."""
    if life.status == 0:
      return ""
    said = self._log.read_text(errors="replace")
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    begins = life.status == 2 and life.stage == "start"
    words = "" if begins else re.escape(reason)
    good = len(lines) == 1 and re.search(f"{self._run}.*{words}", lines[0])
    if good and "Traceback" not in said and (begins or life.status == 5):
      return ""
    return f"status {life.status} in {life.stage}: {said[-400:]}"

  def _again(self, life: forked_life.Life) -> str:
    """That the same command, given again, leaves what the unbroken run has.

    A whole export is not made again: its command refuses a folder that is not empty.
    """
    is_whole = life.status == 0 and self._name == "export"
    return self._finished(life if is_whole else self.live())

  def _finished(self, life: forked_life.Life) -> str:
    """That a life left what the unbroken run has."""
    if life.status != 0:
      return f"then status {life.status}: {self._log.read_text(errors='replace')[-400:]}"
    unbroken = self._folder / "unbroken" / self._name
    changed = kills.same_results.differences(unbroken, self._run)
    return f"then {', '.join(changed)} differ" if changed else ""


def main(arguments: list[str]) -> int:
  """Every fault at random moments of every case; returns 1 if anything was wrong."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--moments", type=int, default=12, help="of each case and fault")
  parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/failing"))
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--cases", nargs="+", default=_CASES)
  parser.add_argument("--faults", nargs="+", default=_FAULTS)
  options = parser.parse_args(arguments)
  folder = options.folder.absolute()
  kills.prepare(folder)
  for name in ("attack", "export", "import"):  # Other cases are given theirs.
    kills.unbroken(name, folder)
  wrong, done = 0, 0
  for name in options.cases:
    size = kills.unbroken(name, folder)
    for fault in options.faults:
      if fault == "second" and name in _LOCKS_NOTHING:
        continue
      draws = random.Random(f"{options.seed}/{name}/{fault}")
      for number in range(options.moments):  # Evenly over the run, within each at random.
        place = (number + draws.random()) / options.moments
        change = 1 + int(place * size["changes"])
        fault_of = _Faults(name, folder).fault(fault, change, draws)
        wrong, done = wrong + bool(fault_of), done + 1
        words = fault_of or "one line, then the same results"
        sys.stdout.write(f"{name}, {fault} at change {change}: {words}\n")
        sys.stdout.flush()
  sys.stdout.write(f"{done} faults, {wrong} of them not as they should be\n")
  shutil.rmtree(folder / "disk", ignore_errors=True)
  return 1 if wrong else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
