"""Mixed training images as a defence (Borgnia et al., 2020), https://arxiv.org/abs/2011.09527.

Images are mixed before the noise of a training loss is added: a mixture of two noisy images
would have noise of standard deviation sigma sqrt(lam^2 + (1 - lam)^2), under sigma. One lam
is drawn for a batch, and the partners are a permutation of it, as in the authors' code of
both methods.
"""

import chex
import jax
import jax.numpy as jnp

from pacd_jax import types


def mixup(
  key: types.Key, images: types.Array, *, alpha: float = 1.0, probability: float = 1.0
) -> types.Mixed:
  """mixup of Zhang et al. (2018), https://arxiv.org/abs/1710.09412: convex combinations.

    x = lam x_a + (1 - lam) x_b,  lam ~ Beta(alpha, alpha)

  Args:
    key: consumed.
    images: `[B, H, W, C]`.
    alpha: of the Beta distribution; 1: uniform.
    probability: that a batch is mixed at all.
  """
  chex.assert_rank(images, 4)
  partner_key, share_key = jax.random.split(key)
  partners = jax.random.permutation(partner_key, len(images))
  share = _share(share_key, alpha, probability)
  mixed = share * images + (1.0 - share) * images[partners]
  return types.Mixed(mixed, partners, share)


def cutmix(
  key: types.Key, images: types.Array, *, alpha: float = 1.0, probability: float = 0.5
) -> types.Mixed:
  """CutMix of Yun et al. (2019), https://arxiv.org/abs/1905.04899: a box of the partner.

  The box has the share 1 - lam of the image, lam ~ Beta(alpha, alpha), around a uniform
  pixel, and is cut at the image's border. The label's share is that of the pixels which an
  image has kept, 1 - area / (H W).

  Args:
    key: consumed.
    images: `[B, H, W, C]`.
    alpha: of the Beta distribution; 1: uniform.
    probability: that a batch is mixed at all.
  """
  chex.assert_rank(images, 4)
  partner_key, share_key, place_key = jax.random.split(key, 3)
  partners = jax.random.permutation(partner_key, len(images))
  side = jnp.sqrt(1.0 - _share(share_key, alpha, probability))  # Over the image's.
  is_cut = jnp.ones((), bool)
  for place, axis in zip(jax.random.split(place_key), (1, 2), strict=True):
    size = images.shape[axis]
    center, half = jax.random.randint(place, (), 0, size), jnp.floor(0.5 * side * size)
    pixels = jnp.arange(size)
    within = (pixels >= center - half) & (pixels < center + half)
    is_cut = is_cut & jnp.expand_dims(within, 2 - axis)
  mixed = jnp.where(is_cut[None, :, :, None], images[partners], images)
  return types.Mixed(mixed, partners, 1.0 - is_cut.sum() / is_cut.size)


def _share(key: types.Key, alpha: float, probability: float) -> types.Scalar:
  """lam of a batch: 1 unless it is mixed."""
  share_key, chance_key = jax.random.split(key)
  is_mixed = jax.random.bernoulli(chance_key, probability)
  return jnp.where(
    is_mixed, jax.random.beta(share_key, alpha, alpha, dtype=jnp.float32), 1.0
  )
