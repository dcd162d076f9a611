"""The door: makes a run of a ConfigDict, a config file or a run's folder, and runs it.

Behind it everything is typed: `config.Config`, and for several runs `suite_specs`. Besides
the commands and `config_files`, this is the only file that knows ConfigDict.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from pacd_jax import errors, types
from pacd_jax.attacks import problem
from pacd_jax.certification import denoised
from pacd_jax.defenses.transforms import forms
from pacd_jax.experiment import (
  assembly,
  attack_assembly,
  attack_specs,
  config_files,
  defences,
  defense_specs,
  denoisers,
  frozen,
  kinds,
  making,
  manifolds,
  plan,
  schema,
  sizes,
  stages,
  suite_specs,
  target_specs,
  targets,
  together,
  transforms,
  words,
)
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.entries import data_sets
from pacd_jax.experiment.identity import Identity
from pacd_jax.runtime import files, processes, run_folder

Asked = (
  Config
  | suite_specs.Transfer
  | suite_specs.Comparison
  | defense_specs.DefenseMatrix
  | attack_specs.AttackTable
  | target_specs.Targets
)
LoadFn = Callable[..., types.Splits]  # Called like `data_sets.load`.


# --- configs --------------------------------------------------------------------------


def defaults() -> ml_collections.ConfigDict:
  """Every field with its default; `configs/base.py` begins with it."""
  return ml_collections.ConfigDict(_as_configs_have_it(schema.defaults()))


def _as_configs_have_it(values: Mapping[str, Any]) -> dict[str, Any]:
  """Turns lists into tuples, which flags can set."""
  return {
    name: _as_configs_have_it(value)
    if isinstance(value, Mapping)
    else tuple(value)
    if isinstance(value, list)
    else value
    for name, value in values.items()
  }


def parse(config: ml_collections.ConfigDict) -> Asked:
  """What a config asks for: one run, or several if it has one of the suites' groups.

  Raises:
    errors.InputError: names the field, its value, and what it must be.
  """
  values = config.to_dict()
  if "victims" in values:
    return suite_specs.transfer(values)
  if "defenses" in values:
    return defense_specs.parse(values)
  if "attacks" in values:
    if "epsilons" not in values:  # A comparison has budgets.
      return attack_specs.parse(values)
    return suite_specs.comparison(values)
  if "targets" in values:
    return target_specs.parse(values)
  return schema.make(values)


def named(name: str, variant: str = "", changes: Mapping[str, Any] | None = None) -> Config:
  """The config of a run, by its file's name: `named("mnist_ga", "fast,sigma=0.5")`.

  Args:
    name: a file in `configs/`, without `.py`.
    variant: what would stand behind the colon on a command line.
    changes: further fields, by flat names; "poisons" and "rows" are replaced whole.

  Raises:
    errors.InputError: there is no such config, or a field cannot be used.
  """
  changes = dict(changes or {})
  values = config_files.get_config_of(name)(variant).to_dict()
  for whole in ("poisons", "rows"):
    if whole in changes:
      values[whole] = changes.pop(whole)
  for field in changes:
    schema.check_name(field)
  return schema.make(schema.nested(schema.flatten(values) | changes))


# --- runs -----------------------------------------------------------------------------


def run(
  config: Config,
  workdir: str | os.PathLike,
  stage_names: Sequence[str] = stages.NAMES,
  *,
  allow_other_versions: bool = False,
) -> str | None:
  """Runs the stages that are not done, in order; everything is checked before the first.

  Args:
    config: the run's config.
    workdir: the run's folder (see the README).
    stage_names: some of `stages.NAMES`.
    allow_other_versions: whether to resume a run that other code or versions began.

  Returns:
    The table of results where "report" is among the stages.

  Raises:
    errors.InputError: something given cannot be used; nothing was started.
    errors.NonFiniteError: a loss or a gradient is not finite.
  """
  with processes.agreeing():
    run_plan = build(config, workdir)
  stages.run_alone(run_plan, stage_names, allow_other_versions=allow_other_versions)
  return stages.table(run_plan) if stages.reports(stage_names) else None


def build(
  config: Config,
  workdir: str | os.PathLike,
  load_data: LoadFn = data_sets.load,
) -> plan.Plan:
  """Checks the config and makes the run's data, model and functions; writes nothing.

  Args:
    config: the run's config.
    workdir: its folder.
    load_data: called like `data_sets.load`.

  Raises:
    errors.InputError: a field cannot be used, alone or with the data.
  """
  together.check(config)
  splits = load_data(
    config.data.name.name,
    seed=config.seed,
    data_dir=config.data.data_dir,
    path=config.data.path,
    num_train=config.data.num_train,
    options=config.data.name.own,
  )
  sizes.check(config, splits)
  network, network_name = assembly.network(config, splits)
  targets.check_features(config, network)
  root = jax.random.key(config.seed)
  inside = transforms.inside(config, splits, jax.random.fold_in(root, making.INSIDE))
  model = forms.before(network, inside)  # Of which an ensemble has many.
  ensemble = assembly.ensemble(config, model)
  name = denoisers.named(config, transforms.named(config, network_name))
  denoise_key = jax.random.fold_in(root, making.DENOISE)
  denoiser = denoisers.make(config, splits, model, denoise_key)
  certified = model if ensemble is None else ensemble.model
  if denoiser is not None:
    certified = denoised.behind(model, denoiser.network)
  surrogate = model if config.attack.knows_defense else network
  defend_key = jax.random.fold_in(root, making.DEFEND)
  known = defences.known(config, splits, surrogate, defend_key)
  budget = assembly.budget(config)
  poisoned = targets.poisoned(config, splits)
  kept = frozen.make(config, splits, model, jax.random.fold_in(root, making.FEATURES))

  def attack_settings() -> problem.Settings:
    return attack_assembly.settings(
      config,
      surrogate,
      transform=known.transform,
      penalties=known.penalties,
      manifold=manifolds.of_loss(config, splits, config.attack.loss.name),
    )

  network_key = jax.random.fold_in(root, making.SURROGATE)
  clean_network = targets.clean_network(config, splits, attack_settings, network_key)

  def tools(entry: kinds.Row) -> kinds.RowTools:
    return kinds.RowTools(
      row=entry.name,
      splits=splits,
      target_class=config.data.target_class,
      poisoned=poisoned,
      key=making.row_key(root, entry),
      epsilon=budget.epsilon if entry.is_bounded else 1.0,
      norm=budget.norm if entry.is_bounded else "linf",
      attack_settings=attack_settings,
      attack_data=lambda: targets.attack_data(config, splits),
      clean_network=clean_network,
      frozen=kept,
    )

  return plan.Plan(
    config=config,
    folder=run_folder.RunFolder(workdir, Identity(schema.values(config))),
    splits=splits,
    model=certified,
    model_name=name if ensemble is None else ensemble.named(name),
    training=words.training(config.train),
    rows=config.rows.names,
    budget=budget,
    target_class=config.data.target_class,
    poisoned=poisoned,
    sigma=config.sigma,
    baselines={
      entry.name: functools.partial(_make_row, entry, tools, config)
      for entry in kinds.ROWS
      if entry.make is not None
    },
    poisons={
      row: config.poisons[row] for row in config.rows.names if config.poisons.get(row)
    },
    attack=attack_assembly.assemble(
      config, splits, surrogate, tools(kinds.ROWS[types.PACD]), known
    ),
    defense=defences.plan(config, splits, model, defend_key),
    train=assembly.training(
      config, splits, model, jax.random.fold_in(root, making.TRAIN), kept
    ),
    certify=assembly.certification(
      config, splits, certified, jax.random.fold_in(root, making.CERTIFY)
    ),
    decay=assembly.decay(config, splits, model, jax.random.fold_in(root, making.DECAY)),
    stopping=assembly.stopping(
      config, splits, model, jax.random.fold_in(root, making.STOP)
    ),
    ensemble=ensemble,
    denoiser=denoiser,
  )


def _make_row(
  entry: kinds.Row, tools: Callable[[kinds.Row], kinds.RowTools], config: Config
) -> np.ndarray | kinds.Poisoned:
  """Makes a baseline's poison; its key is derived anew at every call."""
  assert entry.make is not None
  return entry.make(tools(entry), config.rows.options.get(entry.name))


def load(
  workdir: str | os.PathLike,
  *,
  data_dir: str = "",
  path: str = "",
  data: types.Splits | None = None,
) -> plan.Plan:
  """The plan of a run's folder, from its `config.json`; writes nothing.

  Args:
    workdir: the folder.
    data_dir: where the data are, if they are no longer where they were.
    path: the file of the images of data.name=npz, likewise.
    data: the splits of a run that `pacd_jax.poison` made of arrays.

  Raises:
    errors.InputError: the folder holds no run, or one with another version's fields.
  """
  if not isinstance(workdir, str | os.PathLike):
    raise errors.InputError(f"{workdir!r} is no path: give the folder of a run")
  file = files.user_path(workdir) / "config.json"
  try:
    values = run_folder.read_json(file)
  except errors.InputError as error:
    raise errors.InputError(
      f"{file} is no run's config: give the folder of a run ({error})"
    ) from None
  if values.keys().isdisjoint({"data", "victims", "attacks"}):
    raise errors.InputError(f"{file} is no run's config: give the folder of a run")
  if "victims" in values:
    raise errors.InputError(
      f"{workdir} is a transfer: load the run of one of its victims, one of "
      + ", ".join(f"{workdir}/{name}" for name in values["victims"])
    )
  if "attacks" in values:
    kind, first = "table of attacks", types.CLEAN
    if "defenses" in values:
      kind, first = "matrix of defences", defense_specs.UNDEFENDED
    elif "epsilons" in values:
      kind = "comparison"
    raise errors.InputError(
      f"{workdir} is a {kind}: load one of its runs, such as {workdir}/{first}"
    )
  # An earlier version's config may lack a later one's fields.
  defaults = {name: field.default for name, field in schema.known().items()}
  config = schema.make(schema.nested(defaults | schema.flatten(values)))
  moved = {"data.data_dir": data_dir, "data.path": path}
  config = schema.replaced(config, {name: new for name, new in moved.items() if new})
  if data is not None:
    return build(config, workdir, lambda *args, **kwargs: data)
  return build(config, workdir)
