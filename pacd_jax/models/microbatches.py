"""A batch's gradient as the mean of those of parts, whose activations stay in caches.

Gradient accumulation, for CPUs: a network's activations of a large batch, or of many noisy
copies of a small one, are written to memory and read again; of a few images they are not.
"""

import functools

import chex
import jax
import jax.numpy as jnp

from pacd_jax import noise, types


def gradient_fn(
  model: types.Model, loss: types.Loss, batch_size: int
) -> types.GradientFn | None:
  """The gradient in parts, for `train.make`; None: the batch's own is as fast."""
  if loss.draws is None or jax.default_backend() != "cpu":
    return None
  num = images_at_once(batch_size, model.rows_at_once, max(1, loss.draws))
  if not num:
    return None
  return functools.partial(value_and_grad, num=num, draws=loss.draws)


def images_at_once(batch_size: int, rows_at_once: int, copies: int) -> int:
  """How many images a part has; 0: the batch is not divided.

  Args:
    batch_size: B.
    rows_at_once: of `Model`, the images that a network takes at a time.
    copies: of an image, that the network takes.

  Returns:
    Of B's divisors the nearest to rows_at_once / copies, if one is within a half of it.
  """
  if not rows_at_once or batch_size * copies <= 2 * rows_at_once:
    return 0
  wanted = max(1, rows_at_once // copies)
  near = range((wanted + 1) // 2, 3 * wanted // 2 + 1)
  divisors = [num for num in near if batch_size % num == 0]
  return min(divisors, key=lambda num: abs(num - wanted), default=wanted)


def value_and_grad(
  loss_fn: types.LossFn,
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  key: types.Key,
  own_key: types.Key,
  *,
  num: int,
  draws: int,
) -> tuple[tuple[types.Scalar, types.Aux], types.Params]:
  """The gradient of (1/B) sum_i L(x_i, y_i), `num` images at a time: a `types.GradientFn`.

  Args:
    loss_fn: the mean of a term of each image, as are its auxiliary numbers.
    params: theta.
    images: `[B, H, W, C]`.
    labels: int `[B]`.
    key: `[]` or `[B]`; consumed. The noise of all images is drawn first, as the loss itself
      would draw it.
    own_key: not used.
    num: images of a part, at least 1; the last part may have fewer.
    draws: of `Loss`.

  Returns:
    `((value, aux), gradient)`: within rounding those of the batch, for every `num`.
  """
  del own_key
  chex.assert_rank([images, labels], [4, 1])
  batch_size = len(images)
  drawn = noise.draw(key, draws, images)
  num_parts = batch_size // num
  whole = num_parts * num

  def of_part(images, labels, drawn):
    share = len(images) / batch_size
    part = jax.value_and_grad(loss_fn, has_aux=True)
    found = part(params, images, labels, types.Drawn(jnp.moveaxis(drawn, 1, 0)))
    return jax.tree.map(lambda mean: share * mean, found)

  def add(total, part):
    return jax.tree.map(jnp.add, total, of_part(*part)), None

  given = images, labels, jnp.moveaxis(drawn, 0, 1)
  parts = [each[:whole].reshape(num_parts, num, *each.shape[1:]) for each in given]
  shapes = jax.eval_shape(of_part, *(each[0] for each in parts))
  total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, shapes), parts)
  if whole < batch_size:
    total, _ = add(total, [each[whole:] for each in given])
  return total
