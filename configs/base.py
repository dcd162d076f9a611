"""Defaults shared by all experiments; each config sets only what differs from them.

The fields and their defaults are defined in `pacd_jax/experiment/config.py`. They are the
values of the paper and of its authors' code for MNIST and Gaussian augmentation, with two
exceptions: conjugate gradients on the Gauss-Newton matrix with damping 0.1 (theirs: Adam on
the squared residual of the Hessian's system, damping 1e-3), and steps along the sign of the
hypergradient (theirs: Adam). In the lower level MACER has k = 2, as in the paper; their
code has 1. docs/configuration.md lists each field's type, range and default. This file is
not an experiment by itself.
"""

from collections.abc import Callable

import ml_collections

from pacd_jax.experiment import door, fields


def get_config() -> ml_collections.ConfigDict:
  """The fields and their defaults."""
  return door.defaults()


def smoke_baselines(config: ml_collections.ConfigDict) -> None:
  """Sets the baselines that train a surrogate to their smallest sizes."""
  for row in ("error_minimizing", "robust_error_minimizing", "deferred"):
    config[row].num_rounds = 2
    config[row].surrogate_steps = 2
    config[row].poison_steps = 2
    config[row].step_size = 0.5
  for row in ("targeted_adversarial", "hypocritical", "label_consistent"):
    config[row].warmup_steps = 2
    config[row].num_steps = 3
    config[row].step_size = 1.0
  for row in ("feature_collision", "bullseye_polytope", "gradient_matching"):
    config[row].surrogate_steps = 2
    config[row].num_steps = 3
    config[row].num_images = 10
  config.gradient_matching.num_restarts = 2
  config.robust_error_minimizing.adversary_steps = 2
  config.hypocritical.crafting_steps = 2


def apply_variant(
  config: ml_collections.ConfigDict,
  variant: str,
  variants: dict[str, Callable[[ml_collections.ConfigDict], None]],
) -> None:
  """Applies the part after the colon of `--config=FILE:VARIANT,FIELD=VALUE,...`.

  Raises:
    ValueError: the config has no such variant or field, or the value is not of its type.
  """
  # Fields last, wherever they stand, since a variant sets many; variants in the order of
  # `variants`.
  order = [*variants]
  items = sorted(
    filter(None, variant.split(",")),
    key=lambda item: ("=" in item, order.index(item) if item in variants else 0),
  )
  for item in items:
    field, is_value, text = item.partition("=")
    if is_value:
      _assign(config, field, text)
    elif item in variants:
      variants[item](config)
    else:
      known = ", ".join(variants)
      raise ValueError(f"no variant {item!r} of this config: use one of {known}")


def sigma_in(variant: str, default: float = 0.25) -> float:
  """The sigma that a variant sets; the paper chooses some other fields by sigma."""
  values = [item.partition("=")[2] for item in variant.split(",") if item[:6] == "sigma="]
  try:
    return float(values[-1]) if values else default
  except ValueError:
    return default  # `apply_variant` refuses it.


def _assign(config: ml_collections.ConfigDict, field: str, text: str) -> None:
  group, _, name = field.rpartition(".")
  holder = config
  for part in filter(None, group.split(".")):
    holder = holder.get(part) if isinstance(holder, ml_collections.ConfigDict) else None
  if not isinstance(holder, ml_collections.ConfigDict) or name not in holder:
    raise ValueError(f"no field {field!r} in this config: write sigma=0.5, say")
  kind = type(holder[name])
  if kind not in (int, float, str):
    raise ValueError(f"field {field} cannot be set here: use --config.{field}=...")
  try:
    # pyrefly: ignore[unnecessary-type-conversion]: `kind` may be int, too.
    holder[name] = fields.number(text) if kind is float else kind(text)
  except ValueError:
    raise ValueError(f"{field}={text}: give a value of type {kind.__name__}") from None
