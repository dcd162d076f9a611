"""The runner of suites: runs or resumes many configs' runs, and then reports on them.

A part is a run in a folder of its own. A finished part is left alone, a killed one is
resumed; a part whose numbers are not finite, or whose data a defence refuses, stops only
the parts that need its poison.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import NamedTuple

from pacd_jax import errors
from pacd_jax.experiment import checks, door, row_data, schema, stages
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.entries import data_sets
from pacd_jax.experiment.identity import Identity
from pacd_jax.experiment.plan import Plan
from pacd_jax.runtime import compilation, processes, progress, run_folder

# The errors of one part, which the others do not depend on.
_Failure = errors.NonFiniteError | errors.RefusedError


class Part(NamedTuple):
  """One run of a suite."""

  name: str  # Its folder in the suite's; parts of the same name are the same.
  config: Config
  makers: tuple[str, ...] = ()  # Parts whose poisons it is given: they come before it.


class Suite(NamedTuple):
  """Several runs, and the report on them."""

  path: pathlib.Path  # The folder of the parts' folders.
  parts: Sequence[Part]  # Makers before the parts that are given their poisons.
  # Called with the finished parts, by name; writes the report, and returns its tables.
  report: Callable[[Mapping[str, Plan]], str | None]
  # The suite's own folder, locked with all of its parts' while it runs; None: each part is
  # locked by itself, as other processes may run other parts.
  folder: run_folder.RunFolder | None = None
  check: Callable[[Mapping[str, Plan]], None] = lambda plans: None  # Before any work.
  title: str = "{}"  # What errors call a part.
  # Called in the place of `report` where parts failed, also with what is wrong with them,
  # by name; None: there is no report without all parts.
  report_without: Callable[[Mapping[str, Plan], Mapping[str, str]], str | None] | None = (
    None
  )
  # What an error advises about parts that failed, by their names.
  advice: Callable[[Sequence[str]], str] = lambda names: ""
  # Entered around the work on a part.
  around: Callable[[Part], contextlib.AbstractContextManager[object]] = lambda part: (
    contextlib.nullcontext()
  )


def run(
  suite: Suite,
  stage_names: Sequence[str] = stages.NAMES,
  *,
  allow_other_versions: bool = False,
) -> str | None:
  """Runs what is not done, part after part; every config is checked before the first.

  Args:
    suite: the suite.
    stage_names: the stages of each part.
    allow_other_versions: whether to resume parts that other code or versions began.

  Returns:
    What the suite's report returns, if "report" is among the stages.

  Raises:
    errors.InputError: something given cannot be used; nothing was started.
    errors.NonFiniteError: some parts met one; raised after all others are done.
    errors.RefusedError: a defence refused the data of some parts; raised likewise.
  """
  load = functools.cache(data_sets.load)  # Most often all have the same data.
  plans: dict[str, Plan] = {}
  with processes.agreeing():
    for part in suite.parts:
      with errors.about(suite.title.format(part.name)):
        path = suite.path / part.name
        is_done = suite.folder is None and is_finished(path, part.config)
        if not (is_done and is_written(path)):  # It may have been killed in its report.
          plans[part.name] = door.build(part.config, path, load)
  with _held(suite, plans), compilation.shared_by_runs():
    failed = _work(suite, plans, stage_names, allow_other_versions)
    if failed:
      reasons = {name: str(error) for name, error in failed.items()}
      if suite.report_without is not None and stages.reports(stage_names):
        progress.note(suite.report_without(plans, reasons) or "")
      raise _joined(failed.values(), f"all other parts are done{suite.advice([*failed])}")
    return suite.report(plans) if stages.reports(stage_names) else None


@contextlib.contextmanager
def _held(suite: Suite, plans: Mapping[str, Plan]) -> Generator[None]:
  """Locks the suite's folder and all parts', and checks; nothing if it has no folder."""
  if suite.folder is None:
    yield
    return
  folders = [suite.folder, *(plan.folder for plan in plans.values())]
  with processes.held(folders):
    suite.check(plans)
    yield


def _work(
  suite: Suite,
  plans: Mapping[str, Plan],
  stage_names: Sequence[str],
  allow_other_versions: bool,
) -> dict[str, _Failure]:
  """Runs every part; returns the errors of those that failed, by name."""
  if suite.folder is not None:
    works = {}
    for part in suite.parts:
      with errors.about(suite.title.format(part.name)):
        works[part.name] = stages.check(
          plans[part.name], stage_names, allow_other_versions=allow_other_versions
        )
    suite.folder.claim()
    for name, plan in plans.items():
      plan.folder.claim(works=works[name])
  failed: dict[str, _Failure] = {}
  todo = [part for part in suite.parts if part.name in plans]
  for number, part in enumerate(todo, start=1):
    plan = plans[part.name]
    if suite.folder is not None and tuple(stage_names) == stages.NAMES and _is_done(plan):
      continue
    if gone := [maker for maker in part.makers if maker in failed]:
      words = f"{part.name}: it needs the poison of {gone[0]}"
      failed[part.name] = type(failed[gone[0]])(words)
      continue
    progress.note(f"{part.name} ({number} of {len(todo)} runs)")
    try:
      with errors.about(suite.title.format(part.name)), suite.around(part):
        if suite.folder is None:
          stages.run_alone(plan, stage_names, allow_other_versions=allow_other_versions)
        else:
          stages.run(plan, stage_names)
    except errors.OF_ONE_RUN as error:
      progress.note(str(error))  # The others do not depend on it.
      failed[part.name] = error
  return failed


def _joined(failures: Collection[_Failure], note: str) -> _Failure:
  """One error of several; of several kinds, it is one of numbers that are not finite."""
  kinds = {type(failure) for failure in failures}
  kind = kinds.pop() if len(kinds) == 1 else errors.NonFiniteError
  return kind(f"{'; '.join(map(str, failures))} ({note})")


def _is_done(plan: Plan) -> bool:
  return is_written(plan.folder.path) and checks.is_certified(plan)


def is_written(path: pathlib.Path) -> bool:
  """Whether a run's, or a suite's, results and page are in its folder."""
  return (path / "results.json").exists() and (path / "report" / "index.html").exists()


def is_finished(path: pathlib.Path, config: Config) -> bool:
  """Whether a run's results and every victim's certificates are in its folder.

  Args:
    path: the run's folder.
    config: its config.

  Raises:
    errors.InputError: the folder holds a run of another config, or one whose poison
      another run has made anew since; the message names the fields.
  """
  if not (path / "config.json").exists():
    return False
  there = run_folder.read_json(path / "config.json")
  if difference := Identity(schema.values(config)).differences(there):
    raise errors.InputError(
      f"{path} holds a run of another protocol ({difference}): move it away, or choose "
      "another folder"
    )
  for row, given in config.poisons.items():
    copy = path / "poison" / f"{row}.npz"
    if not given or not copy.exists():
      continue
    row_data.check_unchanged(given, copy, f"move {path} away")
  return (path / "results.json").exists() and all(
    (path / "certificates" / row / f"seed_{seed}.tsv").exists()
    for row in config.rows.names
    for seed in range(config.train.num_victims)
  )
