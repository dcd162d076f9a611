"""Attackers' objectives, minimised: functions of theta on clean images of the class."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from pacd_jax import smoothing, types
from pacd_jax.bounds import interval, layers, margins

# What becomes of an image's certified margin in the attacker's objective.
SHAPES: dict[str, Callable[[types.Array], types.Array]] = {
  "softplus": jax.nn.softplus,
  "hinge": lambda margin: jnp.maximum(margin, 0.0),
  "margin": lambda margin: margin,
  "sigmoid": jax.nn.sigmoid,
}


def soft_acr(
  apply: types.ApplyFn,
  *,
  sigma: float,
  num_noise_samples: int = 20,
  inverse_temperature: float = 16.0,
) -> types.ObjectiveFn:
  """The average certified radius of the soft smoothed classifier: PACD's upper level.

  xi of Algorithm 1 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274; the defaults
  are those of the authors' code for MNIST.

  Args:
    apply: base classifier.
    sigma: standard deviation of the smoothing noise, in image units.
    num_noise_samples: k, noise draws per image.
    inverse_temperature: beta.
  """

  def objective(params, images, labels, key):
    probs = smoothing.soft_smoothed_probs(
      apply,
      params,
      images,
      key,
      sigma=sigma,
      num_samples=num_noise_samples,
      inverse_temperature=inverse_temperature,
    )
    return smoothing.average_certified_radius(probs, labels, sigma=sigma)

  return objective


def negative_loss(loss: types.LossFn) -> types.ObjectiveFn:
  """Minus the loss on the target class: the attack on the accuracy of standard training.

    min_u -L(D_val; theta*(u))

  It is the traditional poisoning attack (Munoz-Gonzalez et al., 2017,
  https://arxiv.org/abs/1708.08689); Table 1 of Mehra et al. (2021) shows that it fails
  against certified defenses.
  """
  return lambda params, images, labels, key: -loss(params, images, labels, key)[0]


def certified_margin(
  model: types.Model,
  *,
  epsilon: float,
  norm: str = "linf",
  method: str = "ibp",
  slopes: str = "adaptive",
  box: bool = True,
  shape: str = "softplus",
) -> types.ObjectiveFn:
  """The mean certified margin of the class: PACD's upper level against bounds.

    (1/n) sum_i f(min_{j != y} m_j(x_i, y_i))

  m is the lower bound of z_y - z_j on the ball around x_i (`margins.certified`), as in
  training. It takes the place of xi in Algorithm 1 of Mehra et al. (2021),
  https://arxiv.org/abs/2012.01274.

  Args:
    model: a network with a description.
    epsilon: radius of the balls, image units.
    norm: of the balls, "linf" or "l2".
    method: one of `margins.METHODS`.
    slopes: one of `linear.SLOPES`.
    box: whether an l_inf ball is cut with [0, 1]; an l2 ball is not.
    shape: f, one of `SHAPES`; with "margin", which is the identity, the mean has no lower
      end, and images that are long misclassified go on counting; with "sigmoid" it is a
      soft verified accuracy, which large margins do not raise by being large.

  Raises:
    errors.InputError: the network has no bounds.
  """
  layers.check(model, "objective certified_margin")
  change = SHAPES[shape]

  def objective(params, images, labels, key):
    del key
    ball = interval.Ball(images, jnp.float32(epsilon), norm, box)
    described = layers.of(model, params)
    found = margins.certified(described, ball, labels, method=method, slopes=slopes)
    return change(margins.smallest(found, labels)).mean()

  return objective
