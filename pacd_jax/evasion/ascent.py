"""Step rules of gradient ascent on images, for l_inf and l_2 balls."""

import optax

from pacd_jax import perturbation, types


def normalized(step_size: types.Array | float, norm: str) -> optax.GradientTransformation:
  """Steps of length `step_size` along the steepest direction of the norm.

  For l2 the direction is each image's gradient divided by its norm, as in Salman et al.
  (2019); for l_inf its sign, as in Madry et al. (2018). A zero gradient gives a zero step.
  """

  def update(updates, state, params=None):
    del params
    return -step_size * perturbation.steepest_direction(updates, norm=norm), state

  return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def adam(step_size: types.Array | float, norm: str) -> optax.GradientTransformation:
  """Adam's steps for either norm, as in the code of Mehra et al. (2021)."""
  del norm
  return optax.adam(step_size)
