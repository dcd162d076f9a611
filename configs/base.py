"""What every experiment shares; a config is a short delta to it.

The numbers are those of the paper and of its authors' code, for MNIST and Gaussian
augmentation, with three departures: conjugate gradients on the Gauss-Newton matrix with
damping 0.1 (theirs: Adam on the squared residual of the Hessian's system, damping 1e-3),
steps along the sign of the hypergradient (theirs: Adam), and a surrogate that restarts
every 540 steps, their ten epochs. `pacd_jax/fields.py` lists each field's type and
range. Not an experiment by itself.
"""

from collections.abc import Callable

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """The fields and their defaults."""
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.sigma = 0.25
  config.rows = ("clean", "watermark", "classwise", "pacd")
  config.poisons = ml_collections.ConfigDict({"yours": ""})

  config.data = ml_collections.ConfigDict()
  config.data.name = "digits"
  config.data.target_class = 8
  config.data.target_points = ()
  config.data.data_dir = ""
  config.data.path = ""
  config.data.num_train = 0
  config.data.augment = "none"

  config.model = ml_collections.ConfigDict()
  config.model.name = "small_cnn"
  config.model.norm = ""

  config.attack = attack = ml_collections.ConfigDict()
  attack.update(_loss())
  attack.macer.num_noise_samples = 2
  attack.macer.lam = 1.0
  attack.objective = "acr"
  attack.epsilon = 0.1
  attack.norm = "linf"
  attack.poisoned_fraction = 1.0
  attack.starts = ("clean",)
  attack.selection = ml_collections.ConfigDict(
    {"every": 0, "corners": False, "num_surrogates": 2, "num_points": 0, "n": 1000}
  )
  attack.num_steps = 2700
  attack.num_shared_steps = 0
  attack.step_size = 0.1
  attack.step_schedule = "constant"
  attack.num_frequencies = 0
  attack.step_rule = "sign"
  attack.normalize = False
  attack.momentum = 0.0
  attack.clean_batch = 900
  attack.poison_batch = 100
  attack.val_batch = 100
  attack.num_noise_samples = 20
  attack.inverse_temperature = 16.0
  attack.lower_steps = 10
  attack.learning_rate = 1e-3
  attack.restart_every = 540
  attack.warmup_steps = 0
  attack.num_surrogates = 1
  attack.surrogates_at_once = 0
  attack.warm_start = False
  attack.hypergradient = "approx_grad"
  attack.curvature = "gauss_newton"
  attack.solver = "cg"
  attack.damping = 0.1
  attack.solver_steps = 10
  attack.solver_tolerance = 0.0
  attack.solver_learning_rate = 0.01
  attack.nystrom_rank = 10
  attack.ekfac_probes = 4
  attack.unrolling = ml_collections.ConfigDict({"learning_rate": 0.1})
  attack.penalty = ml_collections.ConfigDict({"gamma": 10.0, "learning_rate": 1e-3})
  attack.save_every = 100

  config.watermark = ml_collections.ConfigDict()
  config.watermark.opacity = 0.1

  config.convolution = ml_collections.ConfigDict()
  config.convolution.kernel_size = 9
  config.convolution.blur = 1.0

  config.error_minimizing = ml_collections.ConfigDict()
  config.error_minimizing.num_rounds = 200
  config.error_minimizing.surrogate_steps = 5
  config.error_minimizing.poison_steps = 2
  config.error_minimizing.step_size = 0.1
  config.error_minimizing.shared = True

  config.targeted_adversarial = ml_collections.ConfigDict()
  config.targeted_adversarial.shift = 1
  config.targeted_adversarial.warmup_steps = 1000
  config.targeted_adversarial.num_steps = 250
  config.targeted_adversarial.step_size = 0.1
  config.targeted_adversarial.shared = False

  config.train = train = ml_collections.ConfigDict()
  train.update(_loss())
  train.num_victims = 5
  train.num_epochs = 101
  train.recovery_epochs = 0
  train.batch_size = 200
  train.learning_rate = 1e-3
  train.schedule = "constant"
  train.weight_decay = 0.0
  train.augment = ""
  train.victims_at_once = 0
  train.save_every = 10

  config.certify = certify = ml_collections.ConfigDict()
  certify.split = "test"
  certify.n0 = 100
  certify.n = 100_000
  certify.alpha = 0.001
  certify.num_points = 500
  certify.batch_size = 1000
  certify.mode = "fixed"
  certify.dtype = "float32"
  return config


def _loss() -> ml_collections.ConfigDict:
  """The training loss of the attack's lower level, or of the victims."""
  return ml_collections.ConfigDict(
    {
      "loss": "gaussian",
      "noise": "fresh",
      "macer": {
        "num_noise_samples": 16,
        "lam": 16.0,
        "gamma": 8.0,
        "inverse_temperature": 16.0,
      },
      "adversary": {
        "epsilon": 1.0,
        "norm": "l2",
        "num_steps": 2,
        "ascent": "normalized",
        "warmup": 0,
      },
      "smoothadv": {"num_noise_samples": 1},
      "trades": {"weight": 6.0},
    }
  )


def smoke_baselines(config: ml_collections.ConfigDict) -> None:
  """The baselines that train a surrogate, as small as they go."""
  config.error_minimizing.num_rounds = 2
  config.error_minimizing.surrogate_steps = 2
  config.error_minimizing.poison_steps = 2
  config.error_minimizing.step_size = 0.5
  config.targeted_adversarial.warmup_steps = 2
  config.targeted_adversarial.num_steps = 3
  config.targeted_adversarial.step_size = 1.0


def apply_variant(
  config: ml_collections.ConfigDict,
  variant: str,
  variants: dict[str, Callable[[ml_collections.ConfigDict], None]],
) -> None:
  """Applies what stands behind the colon of `--config=FILE:VARIANT,FIELD=VALUE,...`.

  Raises:
    ValueError: the config has no such variant or field, or the value is not of its type.
  """
  # Fields last, wherever they stand: a variant sets many, and would undo them.
  items = sorted(filter(None, variant.split(",")), key=lambda item: "=" in item)
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
  """The sigma that a variant sets, for what the paper sets by it."""
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
    holder[name] = kind(text)
  except ValueError:
    raise ValueError(f"{field}={text}: give a value of type {kind.__name__}") from None
