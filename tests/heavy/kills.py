"""A thousand kills: SIGKILL at random moments of every stage changes no result.

  make test-kills [KILLS=1000]
  python tests/heavy/kills.py [--kills=1000] [--folder=runs/kills] [--workers=2] [--seed=0]
      [--devices=1]
  python tests/heavy/kills.py --run=17      once more, with the same moments

Each case of `kill_cases.py` is run twice without a kill: both must have the same results.
Then the same command is run in other folders, each time killed and started again until it
ends by itself, and must leave what the unbroken run left: the same files, and in them the
same poisons, votes, defended sets, metrics and results. A third of the kills come after a
random time, the others just before, or just after, a file of the run is changed.

`runs.jsonl` in the folder has a line for each run that ended, so the script can be stopped
and started again.
"""

import argparse
import collections
import gc
import json
import math
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import time
from typing import Any

_ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests" / "helpers")]

import forked_life  # noqa: E402
import kill_cases  # noqa: E402
import quick_compilation  # noqa: E402
import same_results  # noqa: E402

_NAMES = (*kill_cases.CASES,)
_MOST_KILLS = 60  # Of one run, or as many as it changes files: so that it ends.


def _surroundings(folder: pathlib.Path, devices: int) -> dict[str, str]:
  """Compiled programs are shared; on one device a run is mostly its own work."""
  found = {
    "XLA_FLAGS": quick_compilation.flags(os.environ.get("XLA_FLAGS", "")),
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  return found | ({"JAX_NUM_CPU_DEVICES": str(devices)} if devices else {})


def _live(name: str, workdir: pathlib.Path, folder: pathlib.Path, moment=None):
  arguments = kill_cases.CASES[name].arguments(workdir, folder / "unbroken")
  return forked_life.live(arguments, workdir, _log(workdir), moment)


def _log(workdir: pathlib.Path) -> pathlib.Path:
  return workdir.with_name(f"{workdir.name}.log")


def _last_words(workdir: pathlib.Path) -> str:
  return _log(workdir).read_text(errors="replace")[-400:]


def unbroken(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """The size of a case's unbroken run, which is made if it is not there."""
  workdir = folder / "unbroken" / name
  size = workdir.with_name(f"{name}.json")
  if size.exists():
    return json.loads(size.read_text())
  first = folder / "first" / name
  shutil.rmtree(first, ignore_errors=True)
  for again in (False, True):  # The second time, everything is compiled.
    shutil.rmtree(workdir, ignore_errors=True)
    life = _live(name, workdir, folder)
    if life.status != 0:
      sys.exit(f"error: {name} ends with {life.status}: {_last_words(workdir)}")
    if not again:
      shutil.move(workdir, first)
    elif changed := same_results.differences(first, workdir):
      sys.exit(f"error: two unbroken runs of {name} differ in {', '.join(changed)}")
  sys.stderr.write(f"unbroken: {name}, {life.seconds:.0f} s\n")
  found = {"seconds": life.seconds, "changes": life.changes}
  size.write_text(json.dumps(found))
  return found


def _moment(draws: random.Random, size: dict[str, Any]) -> forked_life.Moment:
  """When to kill: a sixth of the run away, in the mean."""
  kind = draws.choice(["time", "before", "after"])
  if kind == "time":
    return forked_life.Moment(seconds=draws.expovariate(6.0 / size["seconds"]))
  change = math.ceil(draws.expovariate(6.0 / size["changes"]))
  delay = -1.0 if kind == "before" else draws.expovariate(1.0 / 0.003)
  return forked_life.Moment(change=change, delay=delay)


def _run(number: int, seed: int, folder: pathlib.Path) -> dict[str, Any]:
  """Starts and kills one run until it ends by itself; what came of it."""
  name = _NAMES[number % len(_NAMES)]
  workdir = folder / "killed" / f"{number}_{name}"
  shutil.rmtree(workdir, ignore_errors=True)
  workdir.parent.mkdir(exist_ok=True)
  draws, kills = random.Random(f"{seed}/{number}"), collections.Counter()
  size, began, used = unbroken(name, folder), time.monotonic(), 0.0
  most = min(_MOST_KILLS, size["changes"])
  while True:
    moment = _moment(draws, size) if kills.total() < most else None
    life = _live(name, workdir, folder, moment)
    used += life.cpu_seconds
    if life.status is not None:
      break
    kills[life.stage] += 1
  fault = ""
  if life.status != 0:
    fault = f"status {life.status}: {_last_words(workdir)}"
  elif changed := same_results.differences(folder / "unbroken" / name, workdir):
    fault = f"{', '.join(changed)} differ"
  if not fault:
    shutil.rmtree(workdir)
    _log(workdir).unlink()
  seconds = round(time.monotonic() - began, 1)
  about = {"run": number, "seed": seed, "case": name, "kills": dict(kills)}
  return about | {"seconds": seconds, "cpu_seconds": round(used, 2), "fault": fault}


class _Record:
  """`runs.jsonl`: the runs that ended, of all workers."""

  def __init__(self, folder: pathlib.Path):
    self._path = folder / "runs.jsonl"

  def read(self) -> list[dict[str, Any]]:
    lines = self._path.read_text().splitlines() if self._path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]

  def add(self, run: dict[str, Any]) -> None:
    with open(self._path, "a", encoding="utf-8") as file:
      file.write(json.dumps(run) + "\n")


def _kills(runs: list[dict[str, Any]]) -> int:
  return sum(sum(run["kills"].values()) for run in runs)


def _work(worker: int, options: argparse.Namespace) -> None:
  """Runs every number that is this worker's, until there are enough kills."""
  record, began = _Record(options.folder), time.monotonic()
  before, number, script = _kills(record.read()), worker, os.getppid()
  while (done := _kills(runs := record.read())) < options.kills:
    if os.getppid() != script:
      return
    if number not in {run["run"] for run in runs}:
      record.add(_run(number, options.seed, options.folder))
      runs = record.read()
      done = _kills(runs)
      rate = (done - before) / (time.monotonic() - began)
      left = max(0.0, options.kills - done) / max(rate, 1e-9) / 60.0
      faults = sum(bool(run["fault"]) for run in runs)
      sys.stderr.write(
        f"kills: {done}/{options.kills}  {60.0 * rate:.1f}/min  {left:.0f} min left  "
        f"{len(runs)} runs ended, {faults} with a fault\n"
      )
    number += options.workers


def _report(runs: list[dict[str, Any]], root: pathlib.Path) -> int:
  """Writes the kills by case and stage, and every fault; 1 if there is one."""
  kills, used = collections.Counter(), collections.Counter()
  for run in runs:
    kills.update({f"{run['case']:12}{stage}": n for stage, n in run["kills"].items()})
    used[run["case"]] += run["cpu_seconds"]
  for kind, count in sorted(kills.items()):
    sys.stdout.write(f"{count:5} {kind}\n")
  faults = [run for run in runs if run["fault"]]
  for run in faults:
    again = f"tests/heavy/kills.py --folder={root} --seed={run['seed']} --run={run['run']}"
    again += f" --devices={os.environ.get('JAX_NUM_CPU_DEVICES', 0)}"
    sys.stdout.write(f"{run['run']}_{run['case']}: {run['fault']}\n  again: {again}\n")
  sys.stdout.write(
    f"{kills.total()} kills in {len(runs)} runs, {len(faults)} faults, "
    f"{used.total() / max(1, kills.total()):.1f} CPU seconds a kill\n"
  )
  return 1 if faults else 0


def _check_code(folder: pathlib.Path, devices: int) -> None:
  """Leaves if the folder's runs, which refuse to be resumed, are of others."""
  from pacd_jax.runtime import stamp

  code, path = f"{stamp._of_code()['code']}, {devices} devices", folder / "code.txt"
  if path.exists() and path.read_text() != code:
    sys.exit(f"error: {folder} is of other code or devices: delete it, or use --folder")
  path.write_text(code)


def prepare(folder: pathlib.Path, devices: int = 1) -> None:
  """Makes the folder, and this process one that lives are forked from."""
  (folder / "unbroken").mkdir(parents=True, exist_ok=True)
  os.chdir(_ROOT)
  os.environ |= _surroundings(folder, devices)
  forked_life.prepare()
  _check_code(folder, devices)
  gc.freeze()  # What is imported stays where it is in the children.


def main(arguments: list[str]) -> int:
  """Kills until there are enough; returns 1 if anything differed."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--kills", type=int, default=1000)
  parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/kills"))
  parser.add_argument("--workers", type=int, default=2)
  parser.add_argument("--seed", type=int, default=0, help="of the moments")
  parser.add_argument("--devices", type=int, default=1, help="of a run; 0: its cores")
  parser.add_argument("--run", type=int, help="the number of one run, to do it alone")
  options = parser.parse_args(arguments)
  options.folder = folder = options.folder.absolute()
  prepare(folder, options.devices)
  for name in _NAMES:
    unbroken(name, folder)
  if options.run is not None:
    return _report([_run(options.run, options.seed, folder)], folder)
  context = multiprocessing.get_context("fork")
  workers = [
    context.Process(target=_work, args=(number, options))
    for number in range(options.workers)
  ]
  for worker in workers:
    worker.start()
  for worker in workers:
    worker.join()
  failed = any(worker.exitcode for worker in workers)
  return _report(_Record(folder).read(), folder) or int(failed)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
