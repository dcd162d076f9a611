"""What the config of a table of attacks asks for: each attack once, on equal victims."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pacd_jax import errors, types
from pacd_jax.experiment import kinds, schema, suite_specs, together
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.identity import Identity

_OF_TABLE = ("base", "attacks", "data")
# What all attacks have in common, so that their numbers compare.
_OF_ALL = (
  "attack.epsilon",
  "attack.norm",
  "attack.poisoned_fraction",
  "train.num_victims",
)


class Attack(NamedTuple):
  """One attack of a table."""

  row: str
  config: Config  # Of its run: `row`, behind `clean` where that run needs it.
  has_own_victims: bool  # They train otherwise than the base's.


class AttackTable(NamedTuple):
  """Attacks of all kinds within one budget, or within their own options."""

  identity: Identity
  base: Config  # Its rows are the clean data alone.
  attacks: Mapping[str, Attack]  # By the names of lines, in the registry's order of rows.


def parse(values: Mapping[str, Any]) -> AttackTable:
  """Parses a config of `base`, `attacks` and `data.data_dir`.

  An attack has a `row`, empty to leave it out, and may have `overrides`: fields of the
  groups `attack` and `train`, and of the row's own options.

  Raises:
    errors.InputError: names the field, its value, and what it must be.
  """
  has = (
    "a table of attacks has base, attacks and data.data_dir; a comparison has epsilons, too"
  )
  suite_specs.check_fields(values, _OF_TABLE, has, "configs/attacks.py")
  suite_specs.check_groups(values, *_OF_TABLE)
  own = {"rows": (types.CLEAN,), "poisons": {}}
  with errors.about("base"):
    base = suite_specs.with_own(values["base"], own, suite_specs.data_dir(values))
  attacks: dict[str, Attack] = {}
  for name, attack in values["attacks"].items():
    row, overrides = _checked(name, attack)
    if not row:
      continue
    trains = any(field.startswith("train.") for field in overrides)
    entry = kinds.ROWS[row]  # Clean victims are a control for what attackers may want.
    has_clean = trains or entry.is_targeted or not entry.is_bounded
    rows = (types.CLEAN, row) if has_clean else (row,)
    with errors.about(f"attack {name}"):
      config = schema.replaced(base, overrides | {"rows": rows})
    attacks[name] = Attack(row, config, trains)
  if not attacks:
    raise errors.InputError(
      "a table of attacks needs some: set one's row in config.attacks"
    )
  order = kinds.ROWS.names.index
  ordered = sorted(attacks, key=lambda name: (order(attacks[name].row), name))
  by_row = {name: attacks[name] for name in ordered}
  return AttackTable(Identity(values, grows=True), base, by_row)


def _checked(name: str, attack: Any) -> tuple[str, dict[str, Any]]:
  """Checks an attack; returns its row, and its overrides by flat names."""
  field = f"config field attacks.{name}"
  known = {"row", "overrides"}
  if not isinstance(attack, Mapping) or not {"row"} <= attack.keys() <= known:
    raise errors.InputError(f"{field} must have a row, and may have overrides")
  row, overrides = attack["row"], attack.get("overrides", {})
  if not isinstance(row, str) or (row and (row == types.CLEAN or row not in kinds.ROWS)):
    rows = ", ".join(each for each in kinds.ROWS.names if each != types.CLEAN)
    raise errors.InputError(
      f"{field}.row is {row!r}: it must be one of {rows}, or empty to leave it out"
    )
  if not row:
    return row, {}
  if name != row:
    together.check_row_name("attacks", name)
  if not isinstance(overrides, Mapping):
    raise errors.InputError(f"{field}.overrides is {overrides!r}: it must be a group")
  flat = schema.flatten(overrides)
  allowed = ("attack", "train", row)
  for each in flat:
    if each.split(".")[0] not in allowed or each in _OF_ALL:
      raise errors.InputError(
        f"{field}.overrides.{each}: an attack may set fields of {', '.join(allowed)}, but "
        f"not {', '.join(_OF_ALL)}: all attacks have the same"
      )
    schema.check_name(each)
  return row, flat
