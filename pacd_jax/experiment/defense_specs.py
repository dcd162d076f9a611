"""What the config of a defence matrix asks for: attacks, each against every defence."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pacd_jax import errors, types
from pacd_jax.experiment import schema, suite_specs, together
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.identity import Identity

_OF_MATRIX = ("base", "attacks", "defenses", "data")
# What all parts have in common, so that their numbers compare.
_OF_ALL = (
  "attack.epsilon",
  "attack.norm",
  "attack.poisoned_fraction",
  "train.num_victims",
)
UNDEFENDED = "none"  # The column without a defence.


class DefenseMatrix(NamedTuple):
  """Attacks by defences: every poison is made once, and defended against in every way."""

  identity: Identity
  base: Config  # Its rows are the clean data and attacks; its victims have no defence.
  variants: Mapping[str, Config]  # PACD by name: the base with other fields of `attack`.
  defenses: Mapping[str, Config]  # By name: the base with other `defense` and `train`.
  # By the defence's name: its config, with an attack that knows the defence.
  adaptive: Mapping[str, Config]


def parse(values: Mapping[str, Any]) -> DefenseMatrix:
  """Parses a config of `base`, `attacks`, `defenses` and `data.data_dir`.

  An attack has `overrides` of fields of the group `attack`. A defence has `overrides` of
  the groups `defense` and `train`, and may have `adaptive`: fields of `attack` with which
  PACD is made anew against that defence alone.

  Raises:
    errors.InputError: names the field, its value, and what it must be.
  """
  has = f"a matrix of defences has {', '.join(_OF_MATRIX[:3])} and data.data_dir"
  suite_specs.check_fields(values, _OF_MATRIX, has, "configs/defenses.py")
  suite_specs.check_groups(values, *_OF_MATRIX)
  own = {"poisons": {}}
  with errors.about("base"):
    base = suite_specs.with_own(values["base"], own, suite_specs.data_dir(values))
  if base.rows.names[:1] != (types.CLEAN,) or len(base.rows.names) < 2:
    raise errors.InputError(
      "config field base.rows must be 'clean' and then attacks: what a defence gives back "
      "is measured against both"
    )
  variants, defenses, adaptive = {}, {}, {}
  for name, attack in values["attacks"].items():
    together.check_row_name("attacks", name)
    overrides = _overrides("attacks", name, attack, ("attack",))
    with errors.about(f"attack {name}"):
      variants[name] = schema.replaced(base, overrides | {"rows": (types.PACD,)})
  for name, defense in values["defenses"].items():
    _check_name(name, variants)
    overrides = _overrides("defenses", name, defense, ("defense", "train"))
    with errors.about(f"defence {name}"):
      defenses[name] = schema.replaced(base, overrides)
    if "adaptive" not in defense:
      continue
    knows = _flat(f"defenses.{name}.adaptive", defense["adaptive"], ("attack",))
    if not knows:
      raise errors.InputError(
        f"config field defenses.{name}.adaptive is empty: an attack that knows the defence "
        "has other fields of the group attack"
      )
    with errors.about(f"defence {name}, adaptive"):
      changes = overrides | knows | {"rows": (types.PACD,)}
      adaptive[name] = schema.replaced(base, changes)
  if not defenses:
    raise errors.InputError("a matrix of defences needs some: see configs/defenses.py")
  return DefenseMatrix(Identity(values, grows=True), base, variants, defenses, adaptive)


def _check_name(name: str, variants: Mapping[str, Config]) -> None:
  together.check_row_name("defenses", name)
  if name in (UNDEFENDED, "attacks", "adaptive", *variants):
    raise errors.InputError(
      f"config field defenses.{name} has an unusable name: it is that of a part of the "
      "matrix, or of an attack"
    )


def _overrides(
  group: str, name: str, values: Any, allowed: tuple[str, ...]
) -> dict[str, Any]:
  """The fields that an attack or a defence sets, by flat names."""
  field = f"config field {group}.{name}"
  known = ("overrides", "adaptive") if group == "defenses" else ("overrides",)
  if not isinstance(values, Mapping) or not values.keys() <= {*known}:
    raise errors.InputError(f"{field} is {values!r}: it may have {' and '.join(known)}")
  return _flat(f"{group}.{name}.overrides", values.get("overrides", {}), allowed)


def _flat(field: str, values: Any, allowed: tuple[str, ...]) -> dict[str, Any]:
  if not isinstance(values, Mapping):
    raise errors.InputError(f"config field {field} is {values!r}: it must be a group")
  flat = schema.flatten(values)
  for name in flat:
    if name.split(".")[0] not in allowed or name in _OF_ALL:
      raise errors.InputError(
        f"config field {field}.{name}: it may set fields of {' and '.join(allowed)} in "
        "which the columns may differ, not data, budgets or numbers of victims"
      )
    schema.check_name(name)
  return flat
