"""The classifiers that attacks at test time see: the base classifier, or the smoothed one.

Each is a `types.LogitsFn`; what attacks need of it, loss and margin, is a function of its
logits.
"""

import chex
import jax
import jax.numpy as jnp

from pacd_jax import smoothing, types


def base(apply: types.ApplyFn, params: types.Params) -> types.LogitsFn:
  """The base classifier: one copy of each image, without noise."""
  return lambda images: apply(params, images)[None]


def smoothed(
  apply: types.ApplyFn, params: types.Params, noise: types.Array
) -> types.LogitsFn:
  """The soft smoothed classifier under fixed noise, as SmoothAdv attacks it.

    z(x) = (1/k) sum_j softmax(logits(x + eta_j))

  Salman et al. (2019), https://arxiv.org/abs/1906.04584, whose attack keeps the same noise
  in all of its steps.

  Args:
    apply: base classifier.
    params: its parameters.
    noise: eta, `[k, B, H, W, C]`, in image units (`sigma * noise.draw(...)`).
  """
  chex.assert_rank(noise, 5)

  def logits(images):
    noisy = (images[None] + noise).reshape(-1, *images.shape[1:])
    return apply(params, noisy).reshape(len(noise), len(images), -1)

  return logits


def objective(classifier: types.LogitsFn, labels: types.Array, *, targeted: bool):
  """What a gradient attack increases: `images -> scalar`, a sum over the images.

  The cross-entropy of the mean softmax; if targeted, minus that of the wanted classes.
  """

  def loss(images):
    value = smoothing.cross_entropy(classifier(images), labels).sum()
    return -value if targeted else value

  return loss


def margin(logits: types.Array, labels: types.Array, *, targeted: bool) -> types.Array:
  """By how much each image withstands: `[k, B, K]` -> `[B]`; below 0, it is fooled.

    log z_y - max_{c != y} log z_c,  or minus this if the class y is wanted

  z is the mean softmax over the k copies; of one copy this is the margin of its logits.
  """
  chex.assert_rank([logits, labels], [3, 1])
  scores = jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0)
  is_label = labels[:, None] == jnp.arange(scores.shape[1])[None]
  own = jnp.sum(jnp.where(is_label, scores, 0.0), axis=1)
  other = jnp.max(jnp.where(is_label, -jnp.inf, scores), axis=1)
  return other - own if targeted else own - other
