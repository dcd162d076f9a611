"""Every config field, with its type and range; `settings.check` looks at them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pacd_jax import noise, perturbation
from pacd_jax.certification import provenance, sampling
from pacd_jax.experiment import choices


class Field(NamedTuple):
  """What one config field may hold."""

  kind: type
  holds: Callable[[Any], bool]
  must_be: str


ROWS = (
  "clean",
  "watermark",
  "classwise",
  "random",
  "brightness",
  "convolution",
  "error_minimizing",
  "targeted_adversarial",
  "pacd",
)


def _name() -> Field:
  return Field(str, bool, "a name")


def _text(must_be: str) -> Field:
  return Field(str, lambda value: True, must_be)


def _count(least: int = 1, most: int = 2**31 - 1, otherwise: str = "") -> Field:
  """Whole numbers that the device can count in int32."""
  must_be = f"a whole number from {least} to {most}{otherwise}"
  return Field(int, lambda value: least <= value <= most, must_be)


def _above_zero() -> Field:
  return Field(float, lambda value: value > 0, "a finite number above 0")


def _between(low: float, high: float) -> Field:
  return Field(float, lambda value: low < value < high, f"above {low:g} and under {high:g}")


def _one_of(*choices: str) -> Field:
  return Field(str, lambda value: value in choices, "one of " + ", ".join(choices))


def _at_least_zero() -> Field:
  return Field(float, lambda value: value >= 0, "a finite number of at least 0")


def _share() -> Field:
  return Field(float, lambda value: 0 < value <= 2, "in (0, 2]")


def _flag() -> Field:
  return Field(bool, lambda value: True, "true or false")


def _are_rows(rows) -> bool:
  names = all(isinstance(row, str) for row in rows)
  return names and len(rows) > 0 and len(set(rows)) == len(rows)


def _are_starts(names) -> bool:
  known = all(name in choices.STARTS for name in names)
  return known and len(names) > 0 and len(set(names)) == len(names)


def _are_points(indices) -> bool:
  numbers = all(type(index) is int and 0 <= index < 2**31 for index in indices)
  return numbers and len(set(indices)) == len(indices)


def _of_loss(group: str) -> dict[str, Field]:
  """The training loss of the attack's lower level, or of the victims."""
  fields = {
    "loss": _one_of(*choices.LOSSES),
    "noise": _one_of(*noise.CHOICES),  # At every step, or one draw for each image.
    # MACER.
    "macer.num_noise_samples": _count(most=10_000),  # k.
    "macer.lam": _at_least_zero(),  # lambda.
    "macer.gamma": Field(float, lambda value: 0 < value <= 20, "in (0, 20]"),
    "macer.inverse_temperature": _above_zero(),  # beta.
    # The PGD of smoothadv, adversarial and trades.
    "adversary.epsilon": _above_zero(),  # Radius in image units,
    "adversary.norm": _one_of(*perturbation.NORMS),  # of a ball in this norm.
    "adversary.num_steps": Field(
      int,
      lambda value: 1 <= value <= 10_000,
      "a whole number from 1 to 10000 (for none: loss=gaussian or standard)",
    ),
    "adversary.ascent": _one_of(*choices.ASCENTS),
    "adversary.warmup": _count(0),  # Until the radius is whole: epochs, attack: Adam steps.
    "smoothadv.num_noise_samples": _count(most=10_000),  # m.
    "trades.weight": _at_least_zero(),  # 1 / lambda.
  }
  return {f"{group}.{name}": field for name, field in fields.items()}


FIELDS = {
  "seed": _count(0),
  # Noise std of attack, training and certificate, in image units ([0, 1]).
  "sigma": _between(0.0, 10.0),
  "rows": Field(list, _are_rows, "names of training sets, each once"),
  "data.name": _name(),
  "data.target_class": _count(0),
  # Of the test split, and of that class: the attack sees them, and is after them alone; (),
  # after the class, of which it sees validation images.
  "data.target_points": Field(
    list, _are_points, "different places in the test split, or empty for the class"
  ),
  "data.data_dir": _text("a folder, or empty for TFDS's default"),
  "data.path": _text("an .npz file, or empty"),
  "data.num_train": _count(0),  # Seeded subset of the training split; 0: all.
  # Of images in both levels of the attack and in the victims' training.
  "data.augment": _one_of(*choices.AUGMENTS),
  "model.name": _name(),
  "model.norm": _one_of("", "affine", "group"),  # Of a ResNet; others have none.
  **_of_loss("attack"),  # The victim's, as the attacker assumes.
  # What it minimises: the soft ACR, or the accuracy, by minus the cross-entropy.
  "attack.objective": _one_of(*choices.OBJECTIVES),
  "attack.epsilon": Field(
    float, lambda value: 1 / 255 <= value <= 1e3, "from 1/255 (one level of 8 bits) to 1000"
  ),
  "attack.norm": _one_of(*perturbation.NORMS),
  # alpha: share of the class that is poisoned, drawn by the seed; the rest stays clean.
  "attack.poisoned_fraction": Field(float, lambda value: 0 < value <= 1, "in (0, 1]"),
  # First perturbations; of several, the poison is kept that does most to fresh surrogates.
  "attack.starts": Field(
    list, _are_starts, "different names out of " + ", ".join(choices.STARTS)
  ),
  "attack.selection.every": _count(0),  # Steps between candidates; 0: the last of a start.
  "attack.selection.corners": _flag(),  # The last of a start at the budget's corners, too.
  "attack.selection.num_surrogates": _count(most=1000),  # Fresh, for each candidate.
  # Of the validation split's, or of data.target_points; 0: all.
  "attack.selection.num_points": _count(0),
  "attack.selection.n": _count(most=2**30),  # As certify.n.
  "attack.num_steps": _count(),  # Outer steps in all; of these, the first
  "attack.num_shared_steps": _count(0),  # move one perturbation shared by the class.
  "attack.step_size": _above_zero(),  # In image units,
  "attack.step_schedule": _one_of(*choices.STEP_SCHEDULES),  # or falling linearly to 0.
  "attack.num_frequencies": _count(0),  # Of each axis, that steps are cut to; 0: all.
  "attack.step_rule": _one_of(*choices.STEP_RULES),
  "attack.normalize": _flag(),  # Hypergradients to norm 1 before any mean.
  "attack.momentum": Field(float, lambda value: 0 <= value < 1, "in [0, 1)"),
  "attack.clean_batch": _count(),
  "attack.poison_batch": _count(),
  "attack.val_batch": _count(),
  "attack.num_noise_samples": _count(),  # k of the soft smoothed classifier.
  "attack.inverse_temperature": _above_zero(),  # beta of the same.
  "attack.lower_steps": _count(),  # T1.
  "attack.learning_rate": _above_zero(),  # Adam, on the surrogate.
  "attack.restart_every": _count(),  # Outer steps that a surrogate lives.
  "attack.warmup_steps": _count(0),  # Its Adam steps before the attack uses it.
  "attack.num_surrogates": _count(most=1000),  # Models of the victim, restarted in turn.
  "attack.surrogates_at_once": _count(0),  # In one vmap; 0: all.
  "attack.warm_start": _flag(),  # Each solve begins at the same surrogate's last one.
  "attack.hypergradient": _one_of(*choices.HYPERGRADIENTS),
  "attack.curvature": _one_of(*choices.CURVATURES),  # The matrix of approx_grad,
  "attack.solver": _one_of(*choices.SOLVERS),  # its linear system's method,
  "attack.damping": Field(float, lambda value: value >= 0, "at least 0"),  # and damping.
  # T2: most steps, of the solver, of unrolling, or of penalty; the products with the
  # matrix in a step differ, and the log has their number.
  "attack.solver_steps": _count(),
  # Where cg, normal_equations and ekfac stop before.
  "attack.solver_tolerance": Field(float, lambda value: 0 <= value < 1, "in [0, 1)"),
  "attack.solver_learning_rate": _above_zero(),  # Of adam_residual, single_loop.
  "attack.nystrom_rank": _count(most=10_000),  # Columns, each as large as the model.
  "attack.ekfac_probes": _count(most=10_000),  # Products before the first step.
  "attack.unrolling.learning_rate": _above_zero(),  # Gradient descent's.
  "attack.penalty.gamma": _above_zero(),  # Weight of |grad g|^2 / 2.
  "attack.penalty.learning_rate": _above_zero(),  # Adam's.
  "attack.save_every": _count(),  # Outer steps between checkpoints.
  "watermark.opacity": Field(float, lambda value: 0 < value <= 1, "in (0, 1]"),
  "convolution.kernel_size": _count(most=99),  # Pixels on a side.
  "convolution.blur": _above_zero(),  # Largest entry of the filter beside the one of 1.
  "error_minimizing.num_rounds": _count(),  # Each has
  "error_minimizing.surrogate_steps": _count(),  # Adam steps on a poisoned surrogate, and
  "error_minimizing.poison_steps": _count(),  # steps of each perturbation,
  "error_minimizing.step_size": _share(),  # as a share of epsilon.
  "error_minimizing.shared": _flag(),  # By the class, or each image has its own.
  "targeted_adversarial.shift": _count(),  # Towards class target_class + shift, mod K.
  "targeted_adversarial.warmup_steps": _count(),  # Adam steps of the clean surrogate.
  "targeted_adversarial.num_steps": _count(),  # Steps of each perturbation,
  "targeted_adversarial.step_size": _share(),  # as a share of epsilon; it falls to 0.
  "targeted_adversarial.shared": _flag(),
  **_of_loss("train"),
  "train.num_victims": _count(),
  "train.num_epochs": _count(),
  "train.recovery_epochs": _count(0),  # After these, on the clean split.
  "train.batch_size": _count(),
  "train.learning_rate": _above_zero(),  # Adam; at its peak,
  "train.schedule": _one_of(
    *choices.RATE_SCHEDULES
  ),  # or falling to 0 as a cosine, over all epochs.
  "train.weight_decay": _at_least_zero(),  # Decoupled (AdamW), of every parameter; 0: Adam.
  "train.augment": _one_of("", *choices.AUGMENTS),  # Of victims alone; "": data.augment.
  "train.victims_at_once": _count(0),  # In one vmap; 0: all seeds of all rows.
  "train.save_every": _count(),  # Epochs between checkpoints.
  "certify.split": _one_of("test", "validation"),  # Tune on validation, report on test.
  "certify.n0": _count(most=2**30),
  "certify.n": _count(most=2**30),
  "certify.alpha": _between(0.0, 0.5),
  "certify.num_points": _count(0),  # Seeded sample of the class's points; 0: all.
  "certify.batch_size": _count(most=10**7),  # Noisy images at a time on each device.
  "certify.mode": _one_of(*sampling.MODES),  # How many samples a point gets.
  "certify.dtype": _one_of(*provenance.DTYPES),  # Of the base classifier certified.
}
