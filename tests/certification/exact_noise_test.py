"""Tests of the exact sampler: every word's value, the sums, and the distribution drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from absl.testing import absltest, parameterized

from pacd_jax.certification import exact_noise, rounded_gaussian
from pacd_jax.data import arrays

_of_words = jax.jit(exact_noise.of_words)
_of_both_words = jax.jit(exact_noise.of_both_words)
_noisy = jax.jit(exact_noise.noisy)


def _parts(table):
  """Number of bits of a column, thresholds in 64 - c bits, aliases: Python integers."""
  bits = len(table.entries).bit_length() - 1
  thresholds = [
    (int(entry) >> bits << 32) + int(second) for entry, second in zip(*table, strict=True)
  ]
  return bits, thresholds, [int(entry) % 2**bits for entry in table.entries]


def _by_64_bits(words, seconds, table):
  """The value of each number of 64 bits, as the table is defined."""
  bits, thresholds, aliases = _parts(table)
  found = []
  for word, second in zip(words.ravel(), seconds.ravel(), strict=True):
    column, rest = divmod((int(word) << 32) + int(second), 2 ** (64 - bits))
    value = column if rest < thresholds[column] else aliases[column]
    found.append(value - 2**bits // 2)
  return np.array(found).reshape(words.shape)


class WordsTest(parameterized.TestCase):
  @parameterized.parameters(1.0, 63.75, 255.0)
  def test_borders_of_every_column(self, std):
    table = rounded_gaussian.alias_table(std)
    bits, thresholds, _ = _parts(table)
    firsts, lasts = np.array([divmod(t, 2**32) for t in thresholds]).T
    column = np.arange(2**bits) << (32 - bits)
    most = 2 ** (32 - bits) - 1
    rests = np.stack([0 * firsts, firsts - 1, firsts, firsts + 1, most + 0 * firsts])
    words = (column + np.clip(rests, 0, most)).astype(np.uint32)
    for change in (-1, 0, 1):
      seconds = np.broadcast_to(np.clip(lasts + change, 0, 2**32 - 1), words.shape)
      seconds = seconds.astype(np.uint32)
      expected = _by_64_bits(words, seconds, table)
      np.testing.assert_array_equal(_of_both_words(words, seconds, table), expected)
      values, are_tied = _of_words(words, table)
      np.testing.assert_array_equal(are_tied, words & most == firsts)
      np.testing.assert_array_equal(np.where(are_tied, expected, values), expected)

  def test_all_words_of_a_column_have_their_value_once_each(self):
    table = rounded_gaussian.alias_table(1000.0)  # 2^14 columns: 2^18 words in each.
    bits, thresholds, aliases = _parts(table)
    for column in (2**13 - 2500, 2**13, 2**13 + 1, 2**13 + 6000):
      words = (column << 18) + np.arange(2**18)
      values, are_tied = _of_words(words.astype(np.uint32), table)
      values = np.asarray(values) + 2**bits // 2
      self.assertEqual(are_tied.sum(), 1)
      if aliases[column] != column:
        self.assertEqual((values == column).sum(), thresholds[column] >> 32)
      self.assertContainsSubset(values, [column, aliases[column]])


class NoisyTest(parameterized.TestCase):
  @parameterized.parameters(0.001, 0.12, 0.25, 16.0)
  def test_without_noise_it_is_the_float_image(self, sigma):
    noise = exact_noise.make(sigma)
    size = len(noise.table.entries)
    still = rounded_gaussian.AliasTable(
      np.full(size, size // 2, np.uint32), np.zeros(size, np.uint32)
    )
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = arrays.to_float(pixels)
    found = _noisy(
      images, jax.random.split(jax.random.key(0), 1), noise._replace(table=still)
    )
    np.testing.assert_array_equal(found, images)

  @parameterized.parameters(0.001, 0.25, 16.0)
  def test_is_the_exact_sum_of_the_documented_words(self, sigma):
    """At sigma 16 a word in 65,536 is tied, so that second words are drawn."""
    rng, noise = np.random.default_rng(0), exact_noise.make(sigma)
    pixels = rng.integers(0, 256, (40, 80, 80, 1)).astype(np.uint8)
    keys = jax.random.split(jax.random.key(1), len(pixels))

    def words_of(key):
      first, second = jax.random.split(key)
      return (
        jax.random.bits(first, pixels.shape[1:], jnp.uint32),
        jax.random.bits(second, pixels.shape[1:], jnp.uint32),
      )

    words, seconds = map(np.asarray, jax.jit(jax.vmap(words_of))(keys))
    are_tied = np.asarray(_of_words(words, noise.table)[1])
    values = np.array(_of_both_words(words, seconds, noise.table))
    if sigma == 16.0:
      self.assertGreater(are_tied.sum(), 1)
      changed = values != _of_words(words, noise.table)[0]
      self.assertTrue(changed.any())
      np.testing.assert_array_equal(changed & ~are_tied, np.zeros_like(changed))
    scale = int(noise.levels) // 255
    steps = pixels.astype(np.int64) * scale + values
    found = np.asarray(_noisy(arrays.to_float(pixels), jax.random.clone(keys), noise))
    expected = steps.astype(np.float32) / np.float32(noise.levels)
    np.testing.assert_array_equal(found, expected)
    exact = found.astype(np.float64) * int(noise.levels)
    np.testing.assert_array_equal(np.rint(exact), steps)
    self.assertLess(np.abs(steps).max(), 2**24)
    few = _noisy(arrays.to_float(pixels[7:9]), jax.random.clone(keys)[7:9], noise)
    np.testing.assert_array_equal(few, found[7:9])

  @parameterized.parameters(0.1, 0.25)
  @pytest.mark.long
  def test_histogram_is_of_the_exact_table(self, sigma):
    """By the chi-square test, on cells of at least 100 expected."""
    noise = exact_noise.make(sigma)
    images = np.zeros((500, 20, 20, 1), np.float32)
    keys = jax.random.split(jax.random.key(2), len(images))
    steps = np.rint(np.asarray(_noisy(images, keys, noise)) * noise.levels).astype(int)
    weights = rounded_gaussian.distribution(float(sigma * noise.levels)).weights
    half, number = len(weights) // 2, steps.size
    expected = np.array(weights) / 2.0**64 * number
    counted = np.bincount((steps + half).ravel(), minlength=2 * half)
    inner = np.flatnonzero(expected >= 100.0)
    low, high = inner[0], inner[-1] + 1

    def merged(counts):
      return np.array([counts[:low].sum(), *counts[low:high], counts[high:].sum()])

    found = scipy.stats.chisquare(merged(counted), merged(expected))
    self.assertGreater(found.pvalue, 1e-3)
    wrong = merged(np.roll(expected, 3))  # The test has power: a shift by three steps.
    self.assertLess(scipy.stats.chisquare(merged(counted), wrong).pvalue, 1e-6)


if __name__ == "__main__":
  absltest.main()
