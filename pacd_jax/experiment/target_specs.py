"""What the config of several targets asks for: each target is attacked by itself."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pacd_jax import errors, types
from pacd_jax.experiment import kinds, schema, suite_specs
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.identity import Identity

_FIELDS = ("base", "targets", "training", "data")
# How victims are trained -> their `train.frozen_features`.
TRAINING = {"scratch": "", "frozen": "train"}


class Targets(NamedTuple):
  """Every targeted row on every target, in every way to train victims."""

  identity: Identity
  parts: Mapping[str, Config]  # By `<training>/target_<position>`.


def parse(values: Mapping[str, Any]) -> Targets:
  """Parses a config of `base`, `targets`, `training` and `data.data_dir`.

  `targets` are positions in the test split, `training` names of `TRAINING`. The rows of the
  base are targeted ones, with the clean data as a control before them if wanted.

  Raises:
    errors.InputError: names the field, its value, and what it must be.
  """
  has = "a config of targets has base, targets, training and data.data_dir"
  suite_specs.check_fields(values, _FIELDS, has, "configs/mnist_targeted.py")
  suite_specs.check_groups(values, "base", "data")
  targets = _different("targets", values["targets"], "positions in the test split")
  if not all(type(target) is int and target >= 0 for target in targets):
    raise errors.InputError(
      f"config field targets is {targets}: it must be positions in the test split, such as "
      "(0, 1)"
    )
  training = _different("training", values["training"], " or ".join(TRAINING))
  if not set(training) <= set(TRAINING):
    raise errors.InputError(
      f"config field training is {training}: use {' and '.join(TRAINING)}, or one of them"
    )
  rows = values["base"].get("rows", ())
  attacks = [row for row in rows if row != types.CLEAN]
  known = [row.name for row in kinds.ROWS if row.is_targeted]
  if not attacks or not set(attacks) <= set(known):
    raise errors.InputError(
      f"config field base.rows is {tuple(rows)}: use some of {', '.join(known)}, and clean "
      "as a control"
    )
  parts = {}
  for name in training:
    for target in targets:
      own = {"poisons": {}, "train.frozen_features": TRAINING[name]}
      own |= {f"{row}.target": target for row in known}
      part = f"{name}/target_{target}"
      with errors.about(part):
        parts[part] = suite_specs.with_own(
          values["base"], schema.nested(own), suite_specs.data_dir(values)
        )
  return Targets(Identity(values, grows=True), parts)


def _different(field: str, given: Any, what: str) -> tuple[Any, ...]:
  """A field's values, of which there are some and none is there twice."""
  listed = tuple(given) if isinstance(given, list | tuple) else ()
  if not listed or len(set(map(str, listed))) < len(listed):
    raise errors.InputError(
      f"config field {field} is {given!r}: it must be one or more different {what}"
    )
  return listed
