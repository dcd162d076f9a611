"""Turns a config into functions and runs the stages.

Below the commands, it is the only file that knows ConfigDict.

`assembly.py` and `baseline_rows.py` make the parts of a plan from plain values,
`choices.py` has the functions behind the names; what lies below takes functions and plain
keyword arguments.
"""

import functools
import json
import os
import pathlib
from collections.abc import Callable, Sequence

import jax
import ml_collections

from pacd_jax import errors, types
from pacd_jax.data import load, poison_file
from pacd_jax.experiment import (
  assembly,
  baseline_rows,
  fields,
  plan,
  row_words,
  settings,
  stages,
  targets,
)
from pacd_jax.results import comparison_table
from pacd_jax.runtime import processes, run_folder
from pacd_jax.suites import comparison, transfer

# One random stream for each purpose, folded from the run's seed.
_STREAMS = (
  "pacd",
  "watermark",
  "train",
  "certify",
  "random",
  "convolution",
  "error_minimizing",
  "targeted_adversarial",
)


def run(
  config: ml_collections.ConfigDict,
  workdir: str | os.PathLike,
  stage_names: Sequence[str] = stages.NAMES,
) -> str | None:
  """Runs the stages that are not done, in order; everything is checked before the first.

  Args:
    config: as `configs/*.py` make it.
    workdir: the run's folder (see the README).
    stage_names: some of `stages.NAMES`.

  A config with `victims` is a transfer, several runs, one for each kind of victim; and
  one with `attacks` is a comparison, a run for each PACD attack and for the baselines.

  Returns:
    The table of results where "report" is among the stages.

  Raises:
    errors.InputError: something given cannot be used; nothing was started.
    errors.NonFiniteError: a loss or a gradient is not finite.
  """
  for field, build_several, run_several in (
    ("victims", build_transfer, transfer.run),
    ("attacks", build_comparison, comparison.run),
  ):
    if field in config:
      with processes.agreeing():
        several = build_several(config, workdir)
      return run_several(several, stage_names)
  with processes.agreeing():
    run_plan = build(config, workdir)
  with processes.held([run_plan.folder]):
    stages.check(run_plan, stage_names)
    run_plan.folder.claim()
    for name in stage_names:
      stages.RUN[name](run_plan)
    return stages.table(run_plan) if stages.reports(stage_names) else None


def build(
  config: ml_collections.ConfigDict,
  workdir: str | os.PathLike,
  load_data: Callable[..., types.Splits] = load.load,
) -> plan.Plan:
  """Checks the config and makes data, model and functions of it; writes nothing.

  Args:
    config: of one run.
    workdir: its folder.
    load_data: called as `load.load`.

  Raises:
    errors.InputError: a field cannot be used, alone or with the data.
  """
  values = config.to_dict()
  settings.check(values)
  of_data = values["data"]
  splits = load_data(
    of_data["name"],
    seed=values["seed"],
    data_dir=of_data["data_dir"],
    path=of_data["path"],
    num_train=of_data["num_train"],
  )
  assembly.check_sizes(values, splits)
  baseline_rows.check(values, splits)
  model, model_name = assembly.model(values, splits)
  root = jax.random.key(values["seed"])
  keys = {name: jax.random.fold_in(root, i) for i, name in enumerate(_STREAMS)}
  return plan.Plan(
    folder=run_folder.RunFolder(workdir, values),
    splits=splits,
    model=model,
    model_name=model_name,
    training=row_words.training(values),
    rows=tuple(values["rows"]),
    budget=assembly.budget(values),
    target_class=of_data["target_class"],
    poisoned=targets.poisoned(values, splits),
    sigma=float(values["sigma"]),
    baselines=baseline_rows.attacks(values, splits, model, keys),
    poisons={
      row: poison_file.find(values["poisons"][row])
      for row in values["rows"]
      if row not in fields.ROWS
    },
    attack=assembly.attack(values, splits, model, keys["pacd"]),
    train=assembly.training(values, splits, model, keys["train"]),
    certify=assembly.certification(values, splits, keys["certify"]),
  )


def build_transfer(
  config: ml_collections.ConfigDict, workdir: str | os.PathLike
) -> transfer.TransferPlan:
  """The same for a transfer: `victims`, a config for each kind, and `poisons` for all.

  Raises:
    errors.InputError: a field cannot be used, or there is no victim or no poison.
  """
  for name in config:
    if name not in ("victims", "poisons", "data"):
      raise errors.InputError(
        f"config field {name} is unknown: a transfer has victims, poisons and data.data_dir"
      )
  poisons = {name: path for name, path in config.poisons.items() if path}
  for name in poisons:
    settings.check_row_name("poisons", name)
  if not poisons or not config.victims:
    raise errors.InputError(
      "a transfer needs victims and poisons: set config.poisons.yours to the file of a "
      "poison, or to the folder of a run"
    )
  victims, load_once = {}, functools.cache(load.load)  # Most often the same for all.
  for name, of_victim in config.victims.items():
    settings.check_row_name("victims", name)
    of_victim = of_victim.copy_and_resolve_references()
    with of_victim.unlocked():
      of_victim.rows, of_victim.poisons = ("clean", *poisons), poisons
      of_victim.data.data_dir = config.data.data_dir
    with errors.about(f"victim {name}"):
      victims[name] = build(of_victim, pathlib.Path(workdir, name), load_once)
  folder = run_folder.RunFolder(workdir, config.to_dict())
  return transfer.TransferPlan(folder, victims)


def build_comparison(
  config: ml_collections.ConfigDict, workdir: str | os.PathLike
) -> comparison.ComparisonPlan:
  """The same for a comparison: `attacks` at all `epsilons`, else as the config `base`.

  Raises:
    errors.InputError: a field cannot be used, or there is no attack.
  """
  attacks = comparison.check(config.to_dict())
  entries = comparison_table.entries(config.epsilons, *attacks)
  parts, load_once = {}, functools.cache(load.load)  # Every part has the same data.
  for entry in entries:
    if entry.part in parts:
      continue
    of_part = config.base.copy_and_resolve_references()
    with of_part.unlocked(), of_part.ignore_type():
      of_part.rows = tuple(e.row for e in entries if e.part == entry.part)
      of_part.poisons = ml_collections.ConfigDict()
      of_part.data.data_dir = config.data.data_dir
      of_part.attack.epsilon = float(entry.epsilon or config.epsilons[0])
      of_part.update_from_flattened_dict(attacks.overrides.get(entry.method, {}))
    with errors.about(entry.part):
      parts[entry.part] = build(of_part, pathlib.Path(workdir, entry.part), load_once)
  folder = run_folder.RunFolder(workdir, config.to_dict())
  return comparison.ComparisonPlan(folder, parts, entries, attacks.overrides)


def load(workdir: str | os.PathLike, *, data_dir: str = "") -> plan.Plan:
  """The plan of a run's folder, from its `config.json`; writes nothing.

  Args:
    workdir: the folder.
    data_dir: where the data are, if not where they were.

  Raises:
    errors.InputError: the folder holds no run, or one of another version's fields.
  """
  path = pathlib.Path(workdir) / "config.json"
  try:
    settings_there = json.loads(path.read_text())
  except (OSError, ValueError):
    settings_there = None
  if not isinstance(settings_there, dict):
    raise errors.InputError(f"{path} is no run's config: give the folder of a run")
  if "victims" in settings_there:
    raise errors.InputError(
      f"{workdir} is a transfer: load the run of one of its victims, one of "
      + ", ".join(f"{workdir}/{name}" for name in settings_there["victims"])
    )
  if "attacks" in settings_there:
    raise errors.InputError(
      f"{workdir} is a comparison: load one of its runs, such as {workdir}/clean"
    )
  settings_there = run_folder.completed(settings_there)
  if data_dir:
    settings_there["data"]["data_dir"] = data_dir
  return build(ml_collections.ConfigDict(settings_there), workdir)
