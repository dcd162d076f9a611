"""Noisy copies of 8-bit images, exact in float32: the sampler of `soundness`.

Pixels and noise are whole numbers of steps 1/L. The noise is drawn by the alias table of
`rounded_gaussian` from one word of 32 bits a number. Where that word does not decide (one
in 2^(32 - c) with 2^c columns), a second one does: a loop draws the second words of the few
copies that need some, whose rate is 2e-4 for an image of MNIST at sigma 0.25.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax.certification import rounded_gaussian, soundness
from pacd_jax.types import Array, Key


class Noise(NamedTuple):
  """The noise of sound mode, in place of its standard deviation."""

  table: rounded_gaussian.AliasTable
  levels: np.float32  # L, the steps in [0, 1].


def make(sigma: float) -> Noise:
  """The noise of standard deviation sigma, in image units ([0, 1])."""
  table = rounded_gaussian.alias_table(soundness.std(sigma))
  return Noise(table, np.float32(soundness.levels(sigma)))


def noisy(images: Array, keys: Key, noise: Noise) -> Array:
  """float32((x + E) L) / L for each image: the grid point x + E as f is given it.

  The sum is of whole numbers under 2^24, so it is exact, in float32, too; dividing by L is
  a function of the sum. Without noise that is the float32 image of the 8-bit one.

  Args:
    images: float32 `[B, H, W, C]`, of 8 bits.
    keys: `[B]`, one for each image, consumed.
    noise: of `make`.

  Returns:
    float32 `[B, H, W, C]`; a copy depends on its own image and key alone.
  """
  chex.assert_rank(images, 4)
  shape, table = images.shape[1:], noise.table
  keys = jax.vmap(jax.random.split)(keys)  # `[B, 2]`: of the first and the second words.
  first = jax.random.clone(keys[:, 0])
  words = jax.vmap(lambda key: jax.random.bits(key, shape, jnp.uint32))(first)
  values, are_tied = of_words(words, table)

  def complete(state):
    values, is_tied = state
    place = jnp.argmax(is_tied)
    of_first, of_second = jax.random.clone(keys[place])
    words = jax.random.bits(of_first, shape, jnp.uint32)  # The same again, on purpose.
    seconds = jax.random.bits(of_second, shape, jnp.uint32)
    whole = of_both_words(words, seconds, table)
    return values.at[place].set(whole), is_tied.at[place].set(False)

  def is_left(state):
    return state[1].any()

  is_tied = are_tied.any(axis=tuple(range(1, images.ndim)))
  values, _ = jax.lax.while_loop(is_left, complete, (values, is_tied))
  pixels = jnp.round(images * 255.0).astype(jnp.int32)
  steps = pixels * (noise.levels.astype(jnp.int32) // 255) + values
  return steps.astype(jnp.float32) / noise.levels


def of_words(words: Array, table: rounded_gaussian.AliasTable) -> tuple[Array, Array]:
  """Values by the first words alone, and where the second words decide instead.

  Args:
    words: uint32, of any shape.
    table: of the noise.

  Returns:
    int32 values and bools, both of the words' shape.
  """
  column, rest, threshold, alias = _looked_up(words, table)
  return _centred(jnp.where(rest < threshold, column, alias), table), rest == threshold


def of_both_words(
  words: Array, seconds: Array, table: rounded_gaussian.AliasTable
) -> Array:
  """Values, int32, by the number of 64 bits that two words are, uint32 of one shape."""
  column, rest, threshold, alias = _looked_up(words, table)
  is_under = seconds < _at(table.seconds, column)
  is_under = (rest < threshold) | (rest == threshold) & is_under
  return _centred(jnp.where(is_under, column, alias), table)


def _looked_up(words: Array, table: rounded_gaussian.AliasTable):
  """Column, rest of the word, the threshold's part for it, and alias, all uint32."""
  bits = len(table.entries).bit_length() - 1
  column = words >> (32 - bits)
  entry = _at(table.entries, column)
  return column, words & (2 ** (32 - bits) - 1), entry >> bits, entry & (2**bits - 1)


def _at(entries: Any, column: Array) -> Array:
  found = jnp.asarray(entries).at[column.astype(jnp.int32)]
  return found.get(mode="promise_in_bounds")


def _centred(column: Array, table: rounded_gaussian.AliasTable) -> Array:
  return column.astype(jnp.int32) - len(table.entries) // 2
