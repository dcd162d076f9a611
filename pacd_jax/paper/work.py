"""Does the runs behind tables: leaves finished ones alone and resumes killed ones."""

import contextlib
import os
import pathlib
from collections.abc import Generator, Sequence

import jax

from pacd_jax import errors
from pacd_jax.paper import analyses, stopwatch
from pacd_jax.paper.catalog import Item
from pacd_jax.paper.protocol import Protocol, Run
from pacd_jax.runtime import run_folder, sharding
from pacd_jax.suites import runner


def chosen(runs: Sequence[Run], only: dict[str, str]) -> list[Run]:
  """The runs that have the settings of `--only`, as text: `{"sigma": "0.25"}`."""

  def fits(run):
    texts = {name: text(value) for name, value in run.settings.items()}
    return all(texts.get(name) == value for name, value in only.items())

  return [run for run in runs if fits(run)]


def text(value) -> str:
  """A setting as columns and the command line have it."""
  return f"{value:g}" if isinstance(value, float) else str(value)


def in_order(runs: Sequence[Run]) -> list[Run]:
  """Each run once, after the runs whose poisons it is given."""
  found = {}
  for run in runs:
    for before in in_order(list(run.poisons.values())):
      found.setdefault(before.name, before)
    found.setdefault(run.name, run)
  return list(found.values())


def do(
  protocol: Protocol,
  items: Sequence[Item],
  only: dict[str, str],
  *,
  allow_other_versions: bool = False,
) -> None:
  """Runs and analyses all that the tables lack; every config is checked before the first.

  Args:
    protocol: data set, scale and folder.
    items: the tables.
    only: settings, as text, that a run must have.
    allow_other_versions: whether to resume runs that other code or versions began.

  Raises:
    errors.InputError: something given cannot be used, or a folder holds a run of another
      protocol; nothing was started.
    errors.NonFiniteError, errors.RefusedError: some runs met one; raised after all others
      are done.
  """
  by_item = {item.name: chosen(item.runs(protocol), only) for item in items}
  runs = in_order([run for of_item in by_item.values() for run in of_item])
  if not runs:
    words = ", ".join(f"{name}={value}" for name, value in only.items())
    there: dict[str, dict[str, None]] = {}
    for run in (run for item in items for run in item.runs(protocol)):
      for name, value in run.settings.items():
        there.setdefault(name, {})[f"{name}={text(value)}"] = None
    known = ", ".join(each for of_name in there.values() for each in of_name)
    raise errors.InputError(f"no run of these tables has {words}: they have {known}")
  failed = None
  try:
    runner.run(_suite(protocol, runs), allow_other_versions=allow_other_versions)
  except errors.OF_ONE_RUN as error:
    failed = error  # Finished runs are analysed first.
  for item in items:
    if not item.analysis:
      continue
    for run in by_item[item.name]:
      if protocol.is_finished(run):
        folder, rows = protocol.folder(run), item.rows(run)
        with errors.about(run.name):
          analyses.do(item.analysis, folder, rows, protocol.data_dir)
  if failed is not None:
    raise failed


def _suite(protocol: Protocol, runs: Sequence[Run]) -> runner.Suite:
  by_name = {run.name: run for run in runs}
  return runner.Suite(
    protocol.runs_dir / protocol.name,
    [
      runner.Part(
        run.name,
        protocol.config(run),
        tuple(maker.name for maker in run.poisons.values()),
      )
      for run in runs
    ],
    report=lambda plans: None,  # `render.py` writes the page.
    around=lambda part: _timed(protocol, by_name[part.name]),
  )


@contextlib.contextmanager
def _timed(protocol: Protocol, run: Run) -> Generator[None]:
  """Records in `paper.json` a run's hardware and config, and how long it takes."""
  folder = protocol.folder(run)
  made, here = provenance(folder), hardware()
  with stopwatch.saved(folder / "paper.json", made.get("seconds", 0.0)) as record:
    record["hardware"] = made.get("hardware") or here
    if record["hardware"] != here:
      record["hardware"] += f", then {here}"
    record["config"] = protocol.config_name(run)
    yield


def provenance(folder: pathlib.Path) -> dict:
  """What a run's `paper.json` says: hardware, config, seconds; empty without the file."""
  path = folder / "paper.json"
  return run_folder.read_json(path) if path.exists() else {}


def hardware() -> str:
  """Accelerators by kind, or the processor and how many of its cores are used."""
  devices = jax.devices()
  if devices[0].platform != "cpu":
    return f"{len(devices)} x {devices[0].device_kind}"
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
  except OSError:  # Not on Linux.
    lines = []
  names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
  name = names[0] if names else os.uname().machine
  return f"{sharding.num_cores()} cores of {name}"
