"""A batch's gradient as the mean of those of parts, whose activations stay in caches.

Gradient accumulation, for CPUs: a network's activations of a large batch, or of many noisy
copies of a small one, are written to memory and read again; of a few images they are not.
"""

import functools
from typing import Any

import chex
import jax
from optax import microbatching

from pacd_jax import noise, types


def gradient_fn(
  model: types.Model, loss: types.Loss, batch_size: int
) -> types.GradientFn | None:
  """The gradient in parts, for `train.make` without `mix`, which pairs images of a batch.

  Returns:
    None if the loss cannot be taken apart, or the batch's own gradient is as fast.
  """
  if loss.num_noise_draws is None:
    return None
  size = part_size(batch_size, model.microbatch_size, max(1, loss.num_noise_draws))
  if not size:
    return None
  return functools.partial(value_and_grad, size=size, num_noise_draws=loss.num_noise_draws)


def part_size(batch_size: int, microbatch_size: int, copies: int) -> int:
  """How many images a part has; 0: the batch is not divided.

  Args:
    batch_size: B.
    microbatch_size: of `Model`.
    copies: noisy ones of an image, which count as images of the network.

  Returns:
    Of B's divisors the nearest to microbatch_size / copies; 0 if none is within a half of
    it, or the whole batch is two such parts or fewer.
  """
  if not microbatch_size or batch_size * copies <= 2 * microbatch_size:
    return 0
  wanted = max(1, microbatch_size // copies)
  near = range((wanted + 1) // 2, 3 * wanted // 2 + 1)
  divisors = [size for size in near if batch_size % size == 0]
  return min(divisors, key=lambda size: abs(size - wanted), default=0)


def value_and_grad(
  loss_fn: types.LossFn,
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  key: types.Key,
  own_key: types.Key,
  *,
  size: int,
  num_noise_draws: int,
) -> tuple[tuple[types.Scalar, types.Aux], types.Params]:
  """The gradient of (1/B) sum_i L(x_i, y_i), `size` images at a time: a `types.GradientFn`.

  Args:
    loss_fn: the mean of a term of each image, as are its auxiliary numbers.
    params: theta.
    images: `[B, H, W, C]`.
    labels: int `[B]`.
    key: `[]` or `[B]`; consumed. The noise of all images is drawn first, as the loss itself
      would draw it.
    own_key: not used.
    size: images of a part, a divisor of B.
    num_noise_draws: of `Loss`.

  Returns:
    `((value, aux), gradient)`: within rounding those of the batch, for every size.
  """
  del own_key
  chex.assert_rank([images, labels], [4, 1])
  drawn: Any = noise.draw(key, num_noise_draws, images) if num_noise_draws else None

  def of_part(images, labels, drawn):
    gradient_fn = jax.value_and_grad(loss_fn, has_aux=True)
    return gradient_fn(params, images, labels, types.Drawn(drawn))

  in_parts = microbatching.microbatch(
    of_part,
    argnums=(0, 1, 2),
    microbatch_size=size,
    accumulator=microbatching.AccumulationType.MEAN,
    in_axes=(0, 0, 1),
  )
  return in_parts(images, labels, drawn)
