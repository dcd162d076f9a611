"""Clean-label attacks on one test image, `rows`: poisons of the label that it is to get."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.attacks.targeted.bullseye_polytope import bullseye_polytope
from pacd_jax.attacks.targeted.feature_collision import feature_collision
from pacd_jax.attacks.targeted.gradient_matching import Settings, gradient_matching
from pacd_jax.data import arrays
from pacd_jax.experiment import fields, kinds

_BLACK, _GREEN, _PINK = "#000000", "#009E73", "#CC79A7"


@dataclasses.dataclass(frozen=True)
class Targeted:
  """The options that all have."""

  target: int = fields.field(
    0,
    fields.count(0),
    "The image of the test split, by its position, that is to get the label "
    "data.target_class, and that the attack sees.",
  )
  num_images: int = fields.field(
    0,
    fields.count(0),
    "Training images to change: the first of those that attack.poisoned_fraction draws; "
    "0: all of them.",
  )
  surrogate_steps: int = fields.field(
    1000,
    fields.count(),
    "Adam steps of the network on clean images, which such rows of a run share; with "
    "train.frozen_features it is the victims'.",
  )


@dataclasses.dataclass(frozen=True)
class FeatureCollision(Targeted):
  """The options of `feature_collision`."""

  num_steps: int = fields.field(200, fields.count(), "Steps of the splitting.")
  step_size: float = fields.field(
    1.0, fields.interval("(0, 1]"), "Of these at first, as a share of 1 / L."
  )
  beta: float = fields.field(
    0.25, fields.at_least_zero(), "Weight of the distance to the base images."
  )
  opacity: float = fields.field(
    0.0, fields.interval("[0, 1]"), "Of the target's watermark in each poison; 0: none."
  )


@dataclasses.dataclass(frozen=True)
class BullseyePolytope(Targeted):
  """The options of `bullseye_polytope`."""

  num_networks: int = fields.field(
    1,
    fields.count(most=100),
    "Surrogates; with train.frozen_features the victims' network.",
  )
  num_steps: int = fields.field(500, fields.count(), "Adam steps of the poisons.")
  learning_rate: float = fields.field(0.04, fields.above_zero(), "Of these, image units.")


@dataclasses.dataclass(frozen=True)
class GradientMatching(Targeted):
  """The options of `gradient_matching`."""

  num_steps: int = fields.field(250, fields.count(), "Steps of each restart.")
  step_size: float = fields.field(
    0.1,
    fields.above_zero(),
    "tau, image units; a tenth from 3/8 of the steps on, and again from 5/8 and 7/8.",
  )
  num_restarts: int = fields.field(
    8, fields.count(most=1000), "Random starts; the one with the least loss is kept."
  )


def _run(
  tools: kinds.RowTools,
  options: Targeted,
  num_networks: int,
  num_steps: int,
  attack: Callable[..., np.ndarray],
) -> kinds.Poisoned:
  """Calls `attack(settings, networks, target, base, labels, on_steps)` on its images."""
  if tools.frozen is None:
    numbers, steps = range(num_networks), options.surrogate_steps
    networks = [tools.clean_network(number, steps) for number in numbers]
  else:
    networks = [tools.frozen.params()]
  indices = tools.poisoned[: options.num_images or None]
  images = attack(
    tools.attack_settings(),
    networks,
    jnp.asarray(arrays.to_float(tools.splits.test.images[options.target])),
    jnp.asarray(arrays.to_float(tools.splits.train.images[indices])),
    jnp.asarray(tools.splits.train.labels[indices]),
    tools.watch(num_steps, "steps"),
  )
  goal = types.Goal(tools.target_class, (options.target,))
  return kinds.Poisoned(images, indices=indices, goal=goal)


def _feature_collision(tools: kinds.RowTools, options: FeatureCollision) -> kinds.Poisoned:
  def attack(settings, networks, target, base, labels, on_steps):
    return feature_collision(
      settings.model.features,
      networks[0],
      target,
      base,
      on_steps,
      epsilon=tools.epsilon,
      norm=tools.norm,
      num_steps=options.num_steps,
      beta=options.beta,
      step_size=options.step_size,
      opacity=options.opacity,
    )

  return _run(tools, options, 1, options.num_steps, attack)


def _bullseye_polytope(tools: kinds.RowTools, options: BullseyePolytope) -> kinds.Poisoned:
  def attack(settings, networks, target, base, labels, on_steps):
    return bullseye_polytope(
      settings.model.features,
      networks,
      target,
      base,
      on_steps,
      epsilon=tools.epsilon,
      norm=tools.norm,
      num_steps=options.num_steps,
      learning_rate=options.learning_rate,
    )

  return _run(tools, options, options.num_networks, options.num_steps, attack)


def _gradient_matching(tools: kinds.RowTools, options: GradientMatching) -> kinds.Poisoned:
  def attack(settings, networks, target, base, labels, on_steps):
    mask = None
    if tools.frozen is not None:
      mask = jax.tree.map(lambda last: jnp.float32(last), tools.frozen.is_last)
    return gradient_matching(
      Settings(
        settings.loss, tools.epsilon, tools.norm, options.num_steps, options.step_size
      ),
      networks[0],
      target,
      base,
      labels,
      tools.key,
      on_steps,
      label=tools.target_class,
      num_restarts=options.num_restarts,
      mask=mask,
    )

  return _run(tools, options, 1, options.num_restarts * options.num_steps, attack)


for _row in (
  kinds.Row(
    "feature_collision",
    _feature_collision,
    "images of the class whose features are those of one test image of another class, "
    "the target (poison frogs).",
    kinds.Style(_PINK, (0, (5, 1, 1, 1))),
    options=FeatureCollision,
    trains_surrogate=True,
    is_targeted=True,
    needs_features=True,
  ),
  kinds.Row(
    "bullseye_polytope",
    _bullseye_polytope,
    "images of the class whose mean features are those of one test image of another "
    "class, the target.",
    kinds.Style(_GREEN, (0, (3, 1, 1, 1))),
    options=BullseyePolytope,
    trains_surrogate=True,
    is_targeted=True,
    needs_features=True,
  ),
  kinds.Row(
    "gradient_matching",
    _gradient_matching,
    "images of the class that a network learns from as from one test image of another "
    "class, the target, under this class's label (Witches' Brew).",
    kinds.Style(_BLACK, (0, (6, 1, 1, 1))),
    options=GradientMatching,
    trains_surrogate=True,
    is_targeted=True,
  ),
):
  kinds.ROWS.add(_row)
