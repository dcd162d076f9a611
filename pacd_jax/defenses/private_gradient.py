"""Gradients of DP-SGD as a defence (Hong et al., 2020), https://arxiv.org/abs/2002.11497.

They bound what one training image, poisoned or not, does to a step. No epsilon is accounted
for: mini-batches have a fixed size, and accountants assume Poisson sampling.
"""

import jax
import optax

from pacd_jax import types


def value_and_grad(
  loss_fn: types.LossFn,
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  key: types.Key,
  noise_key: types.Key,
  *,
  clip_norm: float,
  noise_multiplier: float,
) -> tuple[tuple[types.Scalar, types.Aux], types.Params]:
  """The noisy mean of clipped gradients of Abadi et al. (2016), a `types.GradientFn`.

    g = (1/B) [ sum_i g_i min(1, C / |g_i|_2) + z C N(0, I) ],  g_i = grad L(x_i, y_i)

  from https://arxiv.org/abs/1607.00133. An image's gradient is clipped as a whole, over all
  parameters and after the mean over its noisy copies. All B of them are held at a time.

  Args:
    loss_fn: the mean of a term of each image.
    params: theta.
    images: `[B, H, W, C]`.
    labels: int `[B]`.
    key: the loss's, `[]` or `[B]`; consumed. One for the batch is split over its images.
    noise_key: of the Gaussian noise; consumed. Each leaf has its own.
    clip_norm: C.
    noise_multiplier: z; the noise of the mean has the standard deviation z C / B.

  Returns:
    `((value, aux), gradient)`, the former the batch's means, not private.
  """
  keys = key if key.shape else jax.random.split(key, len(images))

  def of_one(image, label, key):
    gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
    return gradient_fn(params, image[None], label[None], key[None])

  values, gradients = jax.vmap(of_one)(images, labels, keys)
  total, _ = optax.per_example_global_norm_clip(gradients, clip_norm)
  leaves, structure = jax.tree.flatten(total)
  # Without noise, of an infinite clip, too.
  std = noise_multiplier * clip_norm if noise_multiplier else 0.0
  noisy = [
    leaf + std * jax.random.normal(k, leaf.shape, leaf.dtype)
    for leaf, k in zip(leaves, jax.random.split(noise_key, len(leaves)), strict=True)
  ]
  mean = jax.tree.map(lambda leaf: leaf / len(images), structure.unflatten(noisy))
  return jax.tree.map(lambda value: value.mean(axis=0), values), mean
