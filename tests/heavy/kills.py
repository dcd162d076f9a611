"""A thousand kills: SIGKILL at random moments of every stage changes no result.

  make test-kills [KILLS=1000]
  python tests/heavy/kills.py [--kills=1000] [--folder=runs/kills] [--workers=2]

Each case is a tiny command. Its unbroken run is made once; then the same command is started
in another folder, killed after a random time and started again, until it ends by itself.
What it leaves must equal what the unbroken run left: poisons, votes, defended sets and
results, to the bytes where they hold no time. `state.json` in the folder counts the kills
by case and stage, so that the script can be stopped and started again.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SMOKE = ("--config=configs/digits_ga.py:smoke", "--config.model.name=linear")
_CASES = {
  "run": (
    *_SMOKE,
    "--config.attack.starts=('clean','classwise')",
    "--config.attack.selection.every=2",
    "--config.attack.selection.n=50",
  ),
  "losses": ("--config=configs/digits_smoothadv.py:smoke", "--config.model.name=linear"),
  "baselines": (*_SMOKE, "--config.rows=('clean','error_minimizing','convolution')"),
  "defended": (
    *_SMOKE,
    "--config.rows=('clean','brightness')",
    "--config.defense.chain=('random_share',)",
    "--config.train.recovery_epochs=2",
  ),
  "comparison": (
    "--config=configs/digits_compare.py:smoke",
    "--config.base.model.name=linear",
    "--config.epsilons=(0.1,)",
    *(
      f"--config.attacks.{name}.row="
      for name in (
        *("watermark", "random", "convolution", "error_minimizing"),
        *("targeted_adversarial", "pacd_ensemble", "pacd_hessian", "pacd_identity"),
        *("pacd_unrolling", "pacd_single_loop", "pacd_adam", "pacd_per_image"),
      )
    ),
  ),
}
# Fields of results that differ between equal runs.
_OF_TIME = {"attack_seconds", "seconds", "stamp", "stamps", "time", "sha256"}


def _command(case: str, workdir: pathlib.Path) -> list[str]:
  return [sys.executable, "main.py", *_CASES[case], f"--workdir={workdir}"]


def _surroundings(folder: pathlib.Path) -> dict[str, str]:
  """Compiled programs are shared, so that a run is mostly its own work."""
  cache = {
    "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  return os.environ | cache


def _without_times(value):
  if isinstance(value, dict):
    return {n: _without_times(v) for n, v in value.items() if n not in _OF_TIME}
  return [_without_times(each) for each in value] if isinstance(value, list) else value


def _contents(path: pathlib.Path) -> object:
  """What of a file must be the same."""
  if path.suffix == ".json":
    return _without_times(json.loads(path.read_text()))
  if path.suffix == ".npz":
    with np.load(path, allow_pickle=False) as arrays:
      return {name: arrays[name].tobytes() for name in sorted(arrays.files)}
  if path.suffix == ".tsv" and not path.name.endswith(".counts.tsv"):
    return [line.rsplit("\t", 1)[0] for line in path.read_text().splitlines()]
  return path.read_bytes()


def _files(workdir: pathlib.Path) -> dict[str, pathlib.Path]:
  """The files of results, by their names in the folder."""
  found = {}
  for path in sorted(workdir.rglob("*")):
    name = path.relative_to(workdir)
    kept = path.suffix in (".json", ".npz", ".tsv") and "checkpoints" not in name.parts
    if kept and path.name != "stamp.json":
      found[str(name)] = path
  return found


def differences(unbroken: pathlib.Path, killed: pathlib.Path) -> list[str]:
  """Names of the files that differ, or that one of the two folders lacks."""
  one, other = _files(unbroken), _files(killed)
  names = sorted(one.keys() ^ other.keys())
  return names + [
    name
    for name in sorted(one.keys() & other.keys())
    if _contents(one[name]) != _contents(other[name])
  ]


def _stage(workdir: pathlib.Path) -> str:
  """How far a killed run had come."""
  if list(workdir.rglob("report/*")):
    return "report"
  if list(workdir.rglob("certificates/*/*.tsv")):
    return "certify"
  if list(workdir.rglob("checkpoints/train")):
    return "train"
  return "attack" if list(workdir.rglob("config.json")) else "start"


class _Kills:
  """The counts, shared by the workers and saved after each kill."""

  def __init__(self, folder: pathlib.Path, wanted: int):
    self._path, self._wanted, self._lock = folder / "state.json", wanted, threading.Lock()
    there = json.loads(self._path.read_text()) if self._path.exists() else {}
    self.kills = there.get("kills", {})
    self.finished = there.get("finished", 0)
    self.faults = there.get("faults", [])

  @property
  def total(self) -> int:
    return sum(self.kills.values())

  @property
  def is_done(self) -> bool:
    return self.total >= self._wanted

  def add(self, kill: str = "", *, finished: int = 0, faults: list[str] | None = None):
    with self._lock:
      if kill:
        self.kills[kill] = self.kills.get(kill, 0) + 1
      self.finished += finished
      self.faults += faults or []
      state = {"kills": self.kills, "finished": self.finished, "faults": self.faults}
      beside = self._path.with_suffix(".tmp")
      beside.write_text(json.dumps(state, indent=2) + "\n")
      beside.replace(self._path)


def _unbroken(case: str, folder: pathlib.Path) -> float:
  """Makes a case's unbroken run, if it is not there; returns the seconds it takes."""
  workdir, took = folder / "unbroken" / case, folder / "unbroken" / f"{case}.seconds"
  if took.exists():
    return float(took.read_text())
  seconds = 0.0
  for _ in range(2):  # The second time, everything is compiled.
    shutil.rmtree(workdir, ignore_errors=True)
    began = time.monotonic()
    subprocess.run(
      _command(case, workdir),
      cwd=_ROOT,
      env=_surroundings(folder),
      check=True,
      capture_output=True,
    )
    seconds = time.monotonic() - began
  took.write_text(f"{seconds}")
  return seconds


def _until_it_ends(case: str, folder: pathlib.Path, seconds: float, kills: _Kills) -> None:
  """Starts and kills one run until it ends by itself, and compares."""
  name = f"{case}_{random.getrandbits(48):x}"
  workdir, said = folder / "killed" / name, folder / "killed" / f"{name}.log"
  workdir.parent.mkdir(exist_ok=True)
  while True:
    with open(said, "wb") as log:
      process = subprocess.Popen(
        _command(case, workdir),
        cwd=_ROOT,
        env=_surroundings(folder),
        stdout=log,
        stderr=log,
        start_new_session=True,
      )
    try:
      status = process.wait(random.uniform(0.3, 1.2) * seconds)
      break
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      process.wait()
      kills.add(f"{case}/{_stage(workdir)}")
  faults = []
  if status != 0:
    faults = [f"{name}: status {status}: {said.read_text()[-400:]}"]
  elif changed := differences(folder / "unbroken" / case, workdir):
    faults = [f"{name}: {', '.join(changed)} differ"]
  kills.add(finished=1, faults=faults)
  if not faults:
    shutil.rmtree(workdir)
    said.unlink()


def main(arguments: list[str]) -> int:
  """Kills until there are enough; returns 1 if anything differed."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--kills", type=int, default=1000)
  parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/kills"))
  parser.add_argument("--workers", type=int, default=2)
  options = parser.parse_args(arguments)
  folder = options.folder.absolute()
  (folder / "unbroken").mkdir(parents=True, exist_ok=True)
  seconds = {case: _unbroken(case, folder) for case in _CASES}
  kills, began = _Kills(folder, options.kills), time.monotonic()
  before = kills.total

  def work() -> None:
    while not kills.is_done:
      case = random.choice([*_CASES])
      _until_it_ends(case, folder, seconds[case], kills)
      rate = (kills.total - before) / (time.monotonic() - began)
      left = max(0.0, options.kills - kills.total) / max(rate, 1e-9) / 60.0
      sys.stderr.write(
        f"kills: {kills.total}/{options.kills}  {kills.finished} runs ended, "
        f"{len(kills.faults)} faults  {left:.0f} min left\n"
      )

  with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
    for each in [pool.submit(work) for _ in range(options.workers)]:
      each.result()
  for kind, number in sorted(kills.kills.items()):
    sys.stdout.write(f"{number:5} {kind}\n")
  for fault in kills.faults:
    sys.stdout.write(f"{fault}\n")
  sys.stdout.write(f"{kills.total} kills, {len(kills.faults)} faults\n")
  return 1 if kills.faults else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
