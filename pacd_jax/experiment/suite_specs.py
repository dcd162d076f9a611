"""What the config of a suite asks for: several runs in one table."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pacd_jax import errors, types
from pacd_jax.experiment import kinds, schema, together
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.identity import Identity

# The budget is the same for all attacks of a comparison.
_BUDGET = ("attack.epsilon", "attack.norm", "attack.poisoned_fraction")
_OF_COMPARISON = ("base", "epsilons", "attacks", "data")


class Transfer(NamedTuple):
  """Several kinds of victims, each trained on every poison."""

  identity: Identity
  victims: Mapping[str, Config]  # By the kinds' names.
  poisons: Mapping[str, str]  # By the rows' names: a file, or the folder of a run.


class Comparison(NamedTuple):
  """Several attacks on the same budgets."""

  identity: Identity
  base: Config
  epsilons: tuple[float, ...]  # Increasing.
  baselines: tuple[str, ...]  # Rows, in the registry's order.
  variants: Mapping[str, Config]  # PACD by name: the base with other fields of `attack`.


def transfer(values: Mapping[str, Any]) -> Transfer:
  """Parses the config of a transfer: `victims`, `poisons`, and `data.data_dir` for all.

  Raises:
    errors.InputError: names the field, its value, and what it must be.
  """
  for name in values:
    if name not in ("victims", "poisons", "data"):
      raise errors.InputError(
        f"config field {name} is unknown: a transfer has victims, poisons and data.data_dir"
      )
  check_groups(values, "victims", "poisons", "data", *_below(values, "victims"))
  poisons = {name: path for name, path in values["poisons"].items() if path}
  for name in poisons:
    together.check_row_name("poisons", name)
  if not poisons or not values["victims"]:
    raise errors.InputError(
      "a transfer needs victims and poisons: set config.poisons.yours to the file of a "
      "poison, or to the folder of a run"
    )
  victims = {}
  for name, of_victim in values["victims"].items():
    together.check_row_name("victims", name)
    own = {"rows": (types.CLEAN, *poisons), "poisons": poisons}
    with errors.about(f"victim {name}"):
      victims[name] = with_own(of_victim, own, data_dir(values))
  return Transfer(Identity(values), victims, poisons)


def comparison(values: Mapping[str, Any]) -> Comparison:
  """Parses the config of a comparison: `base`, `epsilons`, `attacks`, `data.data_dir`.

  Raises:
    errors.InputError: names the field, its value, and what it must be.
  """
  for name in [*values, *_below(values, "data")]:
    if name not in (*_OF_COMPARISON, "data.data_dir"):
      raise errors.InputError(
        f"config field {name} is unknown: a comparison has base, epsilons, attacks and "
        "data.data_dir"
      )
  for name in _OF_COMPARISON:
    if name not in values:
      raise errors.InputError(f"config field {name} is missing: see configs/comparisons.py")
  check_groups(values, "base", "attacks", "data")
  _check_epsilons(values["epsilons"])
  baselines, variants = [], {}
  for name, attack in values["attacks"].items():
    row, overrides = _check_attack(name, attack)
    if row == types.PACD:
      variants[name] = overrides
    elif row:
      baselines.append(name)
  if not baselines and not variants:
    raise errors.InputError("a comparison needs attacks: set one's row in config.attacks")
  _check_different(values["base"], variants)
  epsilons = tuple(float(epsilon) for epsilon in values["epsilons"])
  own = {"rows": (types.CLEAN,), "poisons": {}, "attack": {"epsilon": epsilons[0]}}
  with errors.about("base"):
    base = with_own(values["base"], own, data_dir(values))
  ordered = sorted(baselines, key=kinds.ROWS.names.index)
  configs = {}
  for name, overrides in variants.items():
    with errors.about(f"attack {name}"):
      configs[name] = schema.replaced(base, overrides)
  return Comparison(Identity(values, grows=True), base, epsilons, tuple(ordered), configs)


def _below(values: Mapping[str, Any], group: str) -> list[str]:
  """The names in a group, if it is one, with its own in front."""
  there = values.get(group)
  return [f"{group}.{name}" for name in there] if isinstance(there, Mapping) else []


def check_fields(
  values: Mapping[str, Any], names: Sequence[str], has: str, example: str
) -> None:
  """Raises `errors.InputError` unless these are the fields of a suite's config.

  Args:
    values: the config.
    names: its fields' names.
    has: which fields a config of the kind has, in words.
    example: a file that shows them.
  """
  for name in values:
    if name not in names:
      raise errors.InputError(f"config field {name} is unknown: {has}")
  for name in names:
    if name not in values:
      raise errors.InputError(f"config field {name} is missing: see {example}")


def check_groups(values: Mapping[str, Any], *names: str) -> None:
  """Raises `errors.InputError` unless these, by flat names, are groups of fields."""
  for name in names:
    value: Any = values
    for part in name.split(".", 1):
      value = value.get(part)
    if not isinstance(value, Mapping):
      raise errors.InputError(f"config field {name} is {value!r}: it must be a group")


def data_dir(values: Mapping[str, Any]) -> Any:
  if "data_dir" not in values["data"]:
    raise errors.InputError("config field data.data_dir is missing: it may be empty")
  return values["data"]["data_dir"]


def with_own(values: Mapping[str, Any], own: Mapping[str, Any], data_dir: str) -> Config:
  """The config of a suite's run, with the fields that the suite sets."""
  flat = schema.flatten(values) | schema.flatten(own) | {"data.data_dir": data_dir}
  return schema.make(schema.nested(flat))


def _check_epsilons(epsilons: Any) -> None:
  """Checks that epsilons are numbers that increase; the runs check their range."""
  listed = epsilons if isinstance(epsilons, (list, tuple)) else ()
  are_numbers = all(type(epsilon) in (int, float) for epsilon in listed)
  if not (listed and are_numbers and (np.diff([0.0, *listed]) > 0.0).all()):
    raise errors.InputError(
      f"config field epsilons is {epsilons}: it must be numbers above 0 that rise, such as "
      "(0.05, 0.1)"
    )


def _check_attack(name: str, attack: Any) -> tuple[str, dict[str, Any]]:
  """Checks an attack; returns the row that it makes, and its overrides by flat names."""
  field = f"config field attacks.{name}"
  if not isinstance(attack, Mapping) or not {"row"} <= attack.keys() <= {
    "row",
    "overrides",
  }:
    raise errors.InputError(f"{field} must have a row, and may have overrides")
  row, overrides = attack["row"], attack.get("overrides", {})
  if not isinstance(overrides, Mapping):
    raise errors.InputError(f"{field}.overrides is {overrides!r}: it must be a group")
  overrides = schema.flatten(overrides)
  pacd, clean = types.PACD, types.CLEAN
  if not isinstance(row, str) or (row and (row == clean or row not in kinds.ROWS)):
    known = ", ".join(each for each in kinds.ROWS.names if each != clean)
    raise errors.InputError(
      f"{field}.row is {row!r}: it must be one of {known}, or empty to leave it out"
    )
  if row and row != pacd and (name != row or overrides):
    raise errors.InputError(
      f"{field}: a baseline has the name of its row, {row}, and no overrides: its options "
      "are the base's"
    )
  if row == pacd and name != pacd:
    together.check_row_name("attacks", name)
    if name == "baselines":
      raise errors.InputError(f"{field} has an unusable name: choose another")
  for override in overrides:
    if not override.startswith("attack.") or override in _BUDGET:
      raise errors.InputError(
        f"{field}.overrides.{override}: a variant may override fields of the group attack, "
        f"but not {' or '.join(_BUDGET)}: all attacks have the same"
      )
    schema.check_name(override)
  return row, overrides


def _check_different(
  base: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]
) -> None:
  """Checks that no two variants are the same run."""
  seen: dict[str, str] = {}
  for name, of_variant in variants.items():
    whole = str(sorted((schema.flatten(base) | dict(of_variant)).items()))
    if whole in seen:
      raise errors.InputError(
        f"attacks {seen[whole]} and {name} have the same settings: leave one out by "
        f"--config.attacks.{name}.row="
      )
    seen[whole] = name
