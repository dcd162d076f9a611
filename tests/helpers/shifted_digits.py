"""Digits of which one class has a pattern of its own, and a defence's tools for them."""

import numpy as np

from pacd_jax import types
from pacd_jax.data import training_sets
from pacd_jax.experiment.entries import data_sets

LABEL, BUDGET = 8, 0.1


def splits() -> types.Splits:
  return data_sets.load("digits")


def shifted(pattern: np.ndarray) -> types.TrainingSet:
  """The training split with `pattern`, image units, on every image of the class."""
  whole = training_sets.whole(splits().train)
  images, of_class = whole.images.copy(), whole.labels == LABEL
  moved = images[of_class] + 255 * pattern
  images[of_class] = np.rint(np.clip(moved, 0, 255)).astype(np.uint8)
  return whole._replace(images=images)


def signs(seed: int = 0) -> np.ndarray:
  """A random corner of the budget, `[8, 8, 1]`."""
  generator = np.random.default_rng(seed)
  return BUDGET * generator.choice([-1.0, 1.0], (8, 8, 1))


def tools() -> types.Tools:
  """Without a network: trusted images alone."""
  data = splits()
  return types.Tools(None, None, data.validation, data.num_classes)
