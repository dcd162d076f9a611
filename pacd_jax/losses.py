"""Training losses: factories of one `Loss`, shared by the attack and the victims."""

import chex
import jax
import optax

from pacd_jax import types


def _cross_entropy(
  logits: types.Array, labels: types.Array
) -> tuple[types.Scalar, types.Aux]:
  """Mean cross-entropy, with the batch's accuracy beside it."""
  chex.assert_rank([logits, labels], [2, 1])
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return losses.mean(), {"accuracy": (logits.argmax(axis=-1) == labels).mean()}


def standard(apply: types.ApplyFn) -> types.Loss:
  """Empirical risk: (1/|D|) sum_i l_ce(x_i, y_i; theta). The key is not used."""

  def outputs(params, images, labels, key):
    del labels, key
    return apply(params, images)

  return types.Loss(outputs, _cross_entropy)


def gaussian_augmentation(apply: types.ApplyFn, *, sigma: float) -> types.Loss:
  """Gaussian augmentation (GA) of Cohen et al. (2019), https://arxiv.org/abs/1902.02918.

    L(theta) = (1/|D|) sum_i l_ce(x_i + eta_i, y_i; theta),  eta_i ~ N(0, sigma^2 I)

  L_GaussAug of Mehra et al. (2021), section 3.2. Noisy images are not clipped.

  Args:
    apply: base classifier.
    sigma: noise standard deviation in image units.

  Returns:
    A `Loss`; one noise draw for each image and call.
  """

  def outputs(params, images, labels, key):
    del labels
    noise = jax.random.normal(key, images.shape, images.dtype)
    return apply(params, images + sigma * noise)

  return types.Loss(outputs, _cross_entropy)


def augmented(loss: types.Loss, change: types.AugmentFn) -> types.Loss:
  """`loss` on randomly changed images: what is poisoned is changed after, not before."""

  def outputs(params, images, labels, key):
    change_key, loss_key = jax.random.split(key)
    return loss.outputs(params, change(change_key, images), labels, loss_key)

  return types.Loss(outputs, loss.criterion)
