"""Training losses on certified margins: IBP's, and CROWN-IBP's."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from pacd_jax import types
from pacd_jax.bounds import interval, margins
from pacd_jax.bounds import layers as _layers

# `(layers, ball, labels, strength) -> margins [B, K]`.
_Bound = Callable[
  [types.Layers, interval.Ball, types.Array, types.Array | float], types.Array
]


def ibp(
  model: types.Model,
  *,
  epsilon: float,
  norm: str = "linf",
  kappa: float = 0.5,
  box: bool = True,
) -> types.Loss:
  """Interval bound propagation of Gowal et al. (2018), https://arxiv.org/abs/1810.12715.

    L(theta) = (1/|D|) sum_i k l_ce(z(x_i), y_i) + (1 - k) l_ce(-m(x_i, y_i), y_i)

  m_j is IBP's lower bound of z_y - z_j on the ball around x_i, 0 at j = y. As the strength
  s of the loss's adversary rises from 0 to 1, the radius is s epsilon and k falls linearly,
  k = 1 - s (1 - kappa). Both terms are convex in (z, m).

  Args:
    model: a network with a description.
    epsilon: radius of the ball, image units.
    norm: of the ball, "linf" or "l2".
    kappa: weight of the clean images' term at the whole radius, in [0, 1].
    box: whether an l_inf ball is cut with [0, 1]; an l2 ball is not.

  Returns:
    A `Loss`; its adversary leaves the images as they are, and says labels and strength to
    the outputs `(z [B, K], m [B, K], k [B])`. Aux also holds "verified", the share of
    images whose margins are all above 0. Keys are not used.

  Raises:
    errors.InputError: the network has no bounds.
    ValueError: a setting is out of its range.
  """

  def bound(layers, ball, labels, strength):
    del strength
    return margins.bounds(layers, ball, labels, method="ibp").ibp

  return _loss(model, bound, "loss ibp", epsilon, norm, kappa, box)


def crown_ibp(
  model: types.Model,
  *,
  epsilon: float,
  norm: str = "linf",
  kappa: float = 0.5,
  beta: float = 0.0,
  slopes: str = "adaptive",
  box: bool = True,
) -> types.Loss:
  """CROWN-IBP of Zhang et al. (2020), https://arxiv.org/abs/1906.06316.

  The loss is `ibp`'s with margins b m_crown + (1 - b) m_ibp, m_crown by linear bounds on
  IBP's intervals; b = 1 - s (1 - beta) falls linearly from 1 to beta as the strength s
  rises. Where b is 0, linear bounds are not computed, unless victims are trained in one
  `vmap` (`victims_at_once` other than 1).

  Args:
    model: as for `ibp`, as are the following.
    epsilon: radius.
    norm: of the ball.
    kappa: weight of the clean term.
    beta: weight of m_crown at the whole radius, in [0, 1].
    slopes: one of `linear.SLOPES`.
    box: whether the ball is cut.

  Returns:
    A `Loss` as `ibp`'s.

  Raises:
    errors.InputError: the network has no bounds.
    ValueError: a setting is out of its range.
  """
  if not 0.0 <= beta <= 1.0:
    raise ValueError(f"crown_ibp has beta {beta}: use a number in [0, 1]")

  def bound(layers, ball, labels, strength):
    weight = 1.0 - strength * (1.0 - beta)

    def both():
      found = margins.bounds(layers, ball, labels, method="crown_ibp", slopes=slopes)
      return weight * found.crown + (1.0 - weight) * found.ibp

    def alone():
      return margins.bounds(layers, ball, labels, method="ibp").ibp

    return jax.lax.cond(weight > 0.0, both, alone)

  return _loss(model, bound, "loss crown_ibp", epsilon, norm, kappa, box)


def _loss(
  model: types.Model,
  bound: _Bound,
  what: str,
  epsilon: float,
  norm: str,
  kappa: float,
  box: bool,
) -> types.Loss:
  _layers.check(model, what)
  if not (epsilon > 0.0 and 0.0 <= kappa <= 1.0 and norm in interval.NORMS):
    raise ValueError(
      f"{what} has epsilon {epsilon}, kappa {kappa}, norm {norm!r}: use above 0, [0, 1], "
      "and 'linf' or 'l2'"
    )

  def adversary(params, images, labels, key, strength):
    del params, key
    # Labels are floats, as all that the attack differentiates is; they are whole.
    return images, labels.astype(jnp.float32), jnp.asarray(strength, jnp.float32)

  def outputs(params, inputs, key):
    del key
    images, labels, strength = inputs
    ball = interval.Ball(images, strength * epsilon, norm, box)
    found = bound(_layers.of(model, params), ball, labels.astype(jnp.int32), strength)
    weight = jnp.full(len(images), 1.0, jnp.float32) - strength * (1.0 - kappa)
    return model.apply(params, images), found, weight

  def criterion(outputs, labels):
    logits, found, weight = outputs
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels
    clean, worst = cross_entropy(logits, labels), cross_entropy(-found, labels)
    aux = {
      "accuracy": (logits.argmax(axis=-1) == labels).mean(),
      "verified": (margins.smallest(found, labels) > 0.0).mean(),
    }
    return (weight * clean + (1.0 - weight) * worst).mean(), aux

  return types.Loss(outputs, criterion, adversary)
