"""The differentiable soft smoothed classifier and its certified radius (section 3.2)."""

import math

import chex
import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import ndtri

from pacd_jax import noise, types


def soft_smoothed_probs(
  apply: types.ApplyFn,
  params: types.Params,
  images: types.Array,
  key: types.Key,
  *,
  sigma: float,
  num_samples: int,
  inverse_temperature: float = 16.0,
) -> types.Array:
  """Class probabilities of the soft smoothed classifier.

    z(x) = (1/k) sum_j softmax(beta logits(x + eta_j)),  eta_j ~ N(0, sigma^2 I)

  Section 3.2 and Algorithm 1 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274;
  as beta grows, z tends to the vote shares of the hard smoothed classifier.

  Args:
    apply: base classifier.
    params: its parameters.
    images: `[B, H, W, C]` in [0, 1].
    key: consumed.
    sigma: noise standard deviation in image units.
    num_samples: k, noise draws per image.
    inverse_temperature: beta (Algorithm 1 calls it alpha).

  Returns:
    `[B, K]`, rows sum to 1.
  """
  chex.assert_rank(images, 4)
  logits = noise.noisy_logits(
    apply, params, images, key, sigma=sigma, num_samples=num_samples
  )
  return jax.nn.softmax(inverse_temperature * logits, axis=-1).mean(axis=0)


def cross_entropy(logits: types.Array, labels: types.Array) -> types.Array:
  """-log (1/k) sum_j softmax(logits_j)_y of each image, `[k, B, K]` -> `[B]`.

  The cross-entropy of the soft smoothed classifier at beta = 1, the loss of SmoothAdv
  (Salman et al., 2019, https://arxiv.org/abs/1906.04584); labels are int `[B]`.
  """
  chex.assert_rank([logits, labels], [3, 1])
  of_copies = -optax.softmax_cross_entropy_with_integer_labels(
    logits, jnp.broadcast_to(labels[None], logits.shape[:2])
  )
  return math.log(len(logits)) - jax.nn.logsumexp(of_copies, axis=0)


def certified_radius(
  probs: types.Array, labels: types.Array, *, sigma: float, margin: float = 1e-3
) -> types.Array:
  """Certified l2 radius of a smoothed classifier, 0 for misclassified points.

    r = sigma/2 (q(z_y) - q(max_{c != y} z_c)),  q(p) = Phi^-1((1 - 2a) p + a)

  Section 3.2 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274, after Theorem 1
  of Cohen et al. (2019). The squeeze by a = `margin` is from the authors' code: it bounds
  the radius by sigma Phi^-1(1 - a) and keeps its gradient finite at probabilities 0 and 1.

  Args:
    probs: `[B, K]` class probabilities z.
    labels: `[B]` int, the true classes y.
    sigma: noise standard deviation in image units.
    margin: a, in [0, 1/2); at 0 the radius is exact, and infinite where z_y is 1.

  Returns:
    `[B]`, at least 0, in image units.
  """
  chex.assert_rank([probs, labels], [2, 1])
  is_label = labels[:, None] == jnp.arange(probs.shape[1])[None]
  p_label = jnp.sum(jnp.where(is_label, probs, 0.0), axis=1)
  p_other = jnp.max(jnp.where(is_label, -1.0, probs), axis=1)
  correct = p_label > p_other

  def quantile(p):
    return ndtri((1.0 - 2.0 * margin) * p + margin)

  # For misclassified points both quantiles are of 1/2: the unused branch stays finite.
  radius = (
    0.5
    * sigma
    * (
      quantile(jnp.where(correct, p_label, 0.5))
      - quantile(jnp.where(correct, p_other, 0.5))
    )
  )
  return jnp.where(correct, radius, 0.0)


def average_certified_radius(
  probs: types.Array, labels: types.Array, *, sigma: float, margin: float = 1e-3
) -> types.Scalar:
  """The ACR: the mean certified radius over the batch, misclassified points counting as 0.

    R = (1/|D|) sum_{(x, y) in D} r(x, y)

  Section 3.2 of Mehra et al. (2021). Arguments as `certified_radius`; returns `[]`.
  """
  chex.assert_rank([probs, labels], [2, 1])
  return certified_radius(probs, labels, sigma=sigma, margin=margin).mean()


_LEAST_LOG_P = -80.0  # exp(-80) is a normal float32, and its quantile is -12.3.


@jax.custom_jvp
def _quantile(log_p):
  return ndtri(jnp.exp(log_p))


@_quantile.defjvp
def _quantile_jvp(primals, tangents):
  """d Phi^-1(e^l) / dl = e^l / phi(q), by its logarithm, which does not overflow."""
  (log_p,), (tangent,) = primals, tangents
  q = _quantile(log_p)
  slope = jnp.exp(log_p + 0.5 * q**2 + 0.5 * math.log(2.0 * math.pi))
  return q, slope * tangent


def normal_quantile(log_p: types.Array) -> types.Array:
  """Phi^-1(exp(log_p)), elementwise, with finite derivatives of every order.

  `log_p` is below 0; values below -80 are clipped to -80, whose quantile is -12.3.
  """
  return _quantile(jnp.maximum(log_p, _LEAST_LOG_P))


def soft_margin(
  logits: types.Array, labels: types.Array, *, inverse_temperature: float = 16.0
) -> types.Array:
  """Certified radius of the soft smoothed classifier over sigma / 2, accurate in the tails.

    xi(x, y) = Phi^-1(z_y(x)) - Phi^-1(max_{c != y} z_c(x)),
    z(x) = (1/k) sum_j softmax(beta logits_j)

  Zhai et al. (2020), "MACER", https://arxiv.org/abs/2001.02378; section 3.2 of Mehra et
  al. (2021). Phi^-1(z_y) is computed as -Phi^-1(sum_{c != y} z_c), so that no precision is
  lost where z_y rounds to 1.

  Args:
    logits: `[k, B, K]`, those of k noisy copies of each image.
    labels: int `[B]`.
    inverse_temperature: beta.

  Returns:
    `[B]`: positive, up to about 24, for correctly classified points; 0 for the others.
  """
  chex.assert_rank([logits, labels], [3, 1])
  log_probs = jax.nn.log_softmax(inverse_temperature * logits, axis=-1)
  log_z = jax.nn.logsumexp(log_probs, axis=0) - math.log(len(logits))
  is_label = labels[:, None] == jnp.arange(log_z.shape[1])[None]
  log_label = jnp.sum(jnp.where(is_label, log_z, 0.0), axis=1)
  others = jnp.where(is_label, -jnp.inf, log_z)
  correct = log_label > others.max(axis=1)
  # For misclassified points both quantiles are of 1/2: the unused branch stays finite.
  others = jnp.where(correct[:, None], others, math.log(0.5))
  log_not_label = jnp.where(correct, jax.nn.logsumexp(others, axis=1), math.log(0.5))
  xi = -normal_quantile(log_not_label) - normal_quantile(others.max(axis=1))
  return jnp.where(correct, xi, 0.0)
