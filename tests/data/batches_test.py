"""Mini-batches without replacement, and permutations of a size that is traced."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.data import batches


class BatchIndicesTest(parameterized.TestCase):
  def _batches(self, seed, num_batches, num_examples, batch_size):
    key = jax.random.key(seed)
    draw = jax.jit(
      lambda step: batches.batch_indices(
        key, step, num_examples=num_examples, batch_size=batch_size
      )
    )
    return np.stack([draw(jnp.int32(step)) for step in range(num_batches)])

  @parameterized.parameters((10, 3), (12, 4), (7, 7), (5, 1), (9, 5))
  def test_an_epoch_visits_each_example_at_most_once(self, num_examples, batch_size):
    per_epoch = num_examples // batch_size
    batches = self._batches(0, 8 * per_epoch, num_examples, batch_size)
    self.assertEqual(batches.dtype, np.int32)
    self.assertEqual(batches.shape, (8 * per_epoch, batch_size))
    for epoch in batches.reshape(8, per_epoch * batch_size):
      self.assertLen(set(epoch.tolist()), per_epoch * batch_size)
      self.assertContainsSubset(epoch.tolist(), range(num_examples))

  def test_epochs_differ_in_order_and_in_what_they_leave_out(self):
    epochs = self._batches(0, 3 * 20, 10, 3).reshape(20, 9)
    self.assertLen({tuple(epoch) for epoch in epochs.tolist()}, 20)
    left_out = {45 - sum(epoch) for epoch in epochs.tolist()}
    self.assertGreater(len(left_out), 4)

  def test_a_step_and_a_key_fix_the_batch(self):
    one, two, other = (self._batches(seed, 6, 50, 20) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    self.assertFalse(np.array_equal(one, other))

  def test_jit_and_scan_draw_what_eager_steps_draw(self):
    key, sizes = jax.random.key(5), dict(num_examples=10, batch_size=4)
    eager = [batches.batch_indices(key, step, **sizes) for step in range(5)]

    @jax.jit
    def scanned(key):
      return jax.lax.scan(
        lambda _, step: (None, batches.batch_indices(key, step, **sizes)),
        None,
        jnp.arange(5),
      )[1]

    np.testing.assert_array_equal(scanned(key), np.stack(eager))

  def test_every_example_comes_as_often(self):
    """Over 600 epochs of 3 of 4 examples: 450 +- 5 standard deviations of 10.6."""
    counts = np.bincount(self._batches(1, 600, 4, 3).ravel(), minlength=4)
    np.testing.assert_allclose(counts, 450, atol=53)


@functools.partial(jax.jit, static_argnums=2)
def _permutation(key, size, capacity):
  return batches.permutation(key, size, capacity)


class PermutationTest(parameterized.TestCase):
  """`jax.random.permutation` takes no round for one number, one for up to 1,625, two."""

  @parameterized.parameters(
    (40, (0, 1, 2, 3, 39, 40)),
    (1625, (1, 1000, 1624, 1625)),
    (1626, (1, 2, 1624, 1625, 1626)),
    (5000, (0, 1, 1625, 1626, 3000)),
    (60_000, (1, 1625, 1626, 55_000, 60_000)),
  )
  def test_it_is_that_of_jax(self, capacity, sizes):
    """To the last number, whatever the array is longer than the size."""
    for size in sizes:
      key = jax.random.key(size)
      found = _permutation(key, jnp.int32(size), capacity)
      self.assertEqual(found.dtype, np.int32)
      expected = jax.random.permutation(jax.random.key(size), size)
      np.testing.assert_array_equal(found[:size], expected, f"{size} of {capacity}")
      np.testing.assert_array_equal(found[size:], np.arange(size, capacity))

  def test_sizes_side_by_side(self):
    """As victims of rows of several sizes draw them."""
    sizes, keys = jnp.array([5, 1625, 1630, 1700]), jax.random.split(jax.random.key(0), 4)
    mapped = jax.vmap(lambda key, size: batches.permutation(key, size, 1700))
    words = jax.random.key_data(keys)
    for found, size, word in zip(jax.jit(mapped)(keys, sizes), sizes, words, strict=True):
      expected = jax.random.permutation(jax.random.wrap_key_data(word), int(size))
      np.testing.assert_array_equal(found[: int(size)], expected)


if __name__ == "__main__":
  absltest.main()
