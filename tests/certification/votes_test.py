"""Tests of the program that draws and counts, and of what it says of its memory."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.certification import votes
from pacd_jax.runtime import sharding

SHAPE = (2, 1, 1)


def _apply(params, images):
  """Logits of three classes."""
  return images.reshape(images.shape[0], -1) @ params


def _call(counts, starts, *, apply=_apply, images=None, sigma=0.5, batch_size=30, **kwargs):
  """`draw` for the first few points of a window, with what was given it."""
  rng = np.random.default_rng(0)
  params = rng.normal(size=(2, 3)).astype(np.float32)
  if images is None:
    images = rng.uniform(size=(votes.WINDOW, *SHAPE))
  keys = jax.random.key_data(jax.random.split(jax.random.key(3), votes.WINDOW))
  count, start = np.zeros(votes.WINDOW, np.int32), np.zeros(votes.WINDOW, np.uint32)
  count[: len(counts)], start[: len(starts)] = counts, starts
  given = np.asarray(images, np.float32), np.asarray(keys), start, count
  kwargs |= dict(apply=apply, batch_size=batch_size)
  shares = jax.device_get(votes.draw(params, *given, np.float32(sigma), **kwargs))
  return [share.sum(axis=0) for share in shares], given


class DrawTest(parameterized.TestCase):
  @parameterized.product(batch_size=(1, 7, 30, 1000), num_devices=(1, 3))
  def test_counts_exactly_the_documented_samples(self, batch_size, num_devices):
    """Across the borders of points, and with points between that are given none."""
    options = dict(batch_size=batch_size, mesh=sharding.mesh(num_devices))
    (counted, bad), given = _call([40, 0, 5, 61], [0, 0, 7, 2**31], **options)
    params = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    expected = np.zeros((votes.WINDOW, 3), int)
    for i, (image, data, start, count) in enumerate(zip(*given, strict=True)):
      key = jax.random.wrap_key_data(jnp.asarray(data))
      for j in range(start, start + int(count)):
        sample_key = jax.random.fold_in(key, np.uint32(j))
        noise = np.asarray(jax.random.normal(sample_key, SHAPE))
        logits = _apply(params, (image + np.float32(0.5) * noise)[None])
        expected[i, np.argmax(logits)] += 1
    np.testing.assert_array_equal(counted, expected)
    np.testing.assert_array_equal(bad, np.zeros(votes.WINDOW))

  def test_noise_is_not_clipped(self):
    def above_one(unused_params, images):
      pixel = images[:, 0, 0, 0]
      return jnp.stack([pixel <= 1.0, pixel > 1.0], axis=-1)

    images = np.ones((votes.WINDOW, *SHAPE))
    (counted, _), _ = _call([10_000], [0], apply=above_one, images=images, batch_size=1000)
    self.assertBetween(counted[0, 1], 4_800, 5_200)  # Half, four standard deviations.

  def test_counts_logits_that_are_not_finite_by_point(self):
    def not_positive(unused_params, images):
      return jnp.sqrt(images[:, 0, 0]) * jnp.ones((1, 2))

    images = np.zeros((votes.WINDOW, *SHAPE))
    images[1] = 100.0
    (counted, bad), given = _call([90, 50], [0, 5], apply=not_positive, images=images)
    key = jax.random.wrap_key_data(jnp.asarray(given[1][0]))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(90))
    noise = jax.vmap(lambda k: jax.random.normal(k, SHAPE))(keys)
    self.assertEqual(bad[0], np.sum(noise[:, 0] < 0.0))
    np.testing.assert_array_equal(bad[1:], np.zeros(votes.WINDOW - 1))
    np.testing.assert_array_equal(counted.sum(axis=1)[:3], [90, 50, 0])

  def test_is_compiled_once(self):
    traces = []

    def apply(params, images):
      traces.append(images.shape)
      return _apply(params, images)

    _call([40, 9], [0, 0], apply=apply)
    num_traces = len(traces)
    _call([400], [3], apply=apply, sigma=0.1)
    self.assertLen(traces, num_traces)

  def test_bfloat16(self):
    seen = []

    def apply(params, images):
      seen.append((params.dtype, images.dtype))
      return _apply(params, images)

    (exact, _), _ = _call([3000], [0], apply=apply)
    self.assertEqual(set(seen), {(np.dtype("float32"), np.dtype("float32"))})
    (rounded, _), _ = _call([3000], [0], apply=apply, dtype="bfloat16")
    self.assertEqual(seen[-1], (jnp.bfloat16, jnp.bfloat16))
    self.assertEqual(rounded.sum(), 3000)
    self.assertBetween(np.abs(exact - rounded).sum(), 1, 60)


class MemoryTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.shapes = jax.ShapeDtypeStruct((2, 3), jnp.float32)

  def _check(self, batch_size, free, **kwargs):
    votes.check_memory(
      _apply, self.shapes, SHAPE, batch_size=batch_size, free=free, **kwargs
    )

  def test_what_fits_passes(self):
    self._check(1000, None)  # What this machine has.
    self._check(1000, 2**20)

  @parameterized.parameters("float32", "bfloat16")
  def test_names_a_batch_size_that_fits(self, dtype):
    message = (
      r"certify.batch_size=1000000 needs \S+ GiB, and this device has 0.000977 GiB free: "
      r"use at most ([1-9]0*)$"
    )
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      self._check(10**6, 2**20, dtype=dtype)
    most = int(str(caught.exception).split()[-1])
    self.assertBetween(most, 1000, 10**5)  # Two copies of 8 bytes are the least.
    self._check(most, 2**20, dtype=dtype)

  def test_needs_what_two_calls_on_every_device_need(self):
    alone = votes._temporary_bytes(_apply, self.shapes, SHAPE, "float32", 1000)
    self._check(1000, alone * 2 * 3)
    with self.assertRaises(errors.InputError):
      self._check(1000, alone * 2 * 3 - 1)

  def test_nothing_fits(self):
    with self.assertRaisesRegex(errors.InputError, "not even one noisy copy"):
      self._check(1000, 8)

  @parameterized.parameters(10**6, 10**11)
  def test_is_extrapolated_where_the_size_itself_is_not_compiled(self, batch_size):
    def needed(size):
      with self.assertRaises(errors.InputError) as caught:
        self._check(size, 2**10)
      return float(str(caught.exception).split()[2])

    exact = needed(10**6) * batch_size / 10**6
    self.enter_context(mock.patch.dict(votes._MOST_TO_COMPILE, cpu=1024))
    np.testing.assert_allclose(needed(batch_size), exact, rtol=0.1)


if __name__ == "__main__":
  absltest.main()
