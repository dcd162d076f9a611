"""Tests of the stream of points on a device that is a function on the host."""

from unittest import mock

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.certification import point_stream, sampling, votes

SETTINGS = dict(sigma=0.1, n0=100, n=4000, alpha=0.001)


class Device:
  """Sample j of the point i votes for class 1 with probability p[i]; records all calls."""

  def __init__(self, p, bad=()):
    samples = 100 + 40 + 4000
    self.is_1 = np.random.default_rng(0).uniform(size=(len(p), samples)) < p[:, None]
    self.bad, self.drawn, self.calls = bad, [[] for _ in p], []

  def start(self, images, keys, first, count):
    counts, non_finite = np.zeros((len(count), 2), np.int32), np.zeros(len(count), np.int32)
    for slot in np.flatnonzero(count):
      i, samples = keys[slot, 0], range(first[slot], first[slot] + count[slot])
      assert images[slot, 0, 0, 0] == i
      self.drawn[i].extend(samples)
      counts[slot] = np.bincount(self.is_1[i, list(samples)], minlength=2)
      non_finite[slot] = len(set(self.bad) & {(i, j) for j in samples})
    self.calls.append(int(count.sum()))
    return counts[None], non_finite[None]  # One device.


def _points(rule, num_points):
  for i in range(num_points):
    image = np.full((1, 1, 1), i, np.float32)
    yield point_stream.Point(rule(), image, np.array([i, 0], np.uint32), f"p{i}")


def _alone(rule, is_1):
  """The certificate of a point that has the device to itself, and its samples."""
  point, first = rule(), 0
  size = next(point)
  while True:
    counts = np.bincount(is_1[first : first + size], minlength=2)
    first += size
    try:
      size = point.send(counts)
    except StopIteration as end:
      return end.value, first


class RunTest(parameterized.TestCase):
  @parameterized.product(
    mode=sampling.RULES.names, num_points=(1, 3, 200), batch_size=(7, 1000, 10**6)
  )
  def test_every_point_is_as_if_it_were_alone(self, mode, num_points, batch_size):
    """In order, and each sample is drawn once, in its order, and none too many."""
    rule = sampling.make(mode, **SETTINGS)
    device = Device(np.linspace(0.3, 1.0, num_points))
    ends = list(point_stream.run(device.start, _points(rule, num_points), batch_size))
    self.assertLen(ends, num_points)
    for i, (ours, seconds) in enumerate(ends):
      expected, num_samples = _alone(rule, device.is_1[i])
      self.assertEqual(device.drawn[i], list(range(num_samples)))
      self.assertEqual(ours[:2], expected[:2])
      np.testing.assert_array_equal(ours.counts, expected.counts)
      self.assertGreater(seconds, 0.0)

  def test_fixed_draws_n0_and_n(self):
    device, rule = Device(np.full(5, 0.9)), sampling.make("fixed", **SETTINGS)
    list(point_stream.run(device.start, _points(rule, 5), 64))
    self.assertEqual([len(samples) for samples in device.drawn], [4100] * 5)

  def test_batches_are_full_while_there_is_work(self):
    device, rule = Device(np.full(200, 0.9)), sampling.make("fixed", **SETTINGS)
    list(point_stream.run(device.start, _points(rule, 200), 1000))
    partial = [size for size in device.calls if size % 1000]
    self.assertLessEqual(len(partial), 2)
    self.assertEqual(sum(device.calls), 200 * 4100)

  def test_a_point_is_yielded_as_soon_as_it_and_those_before_are_done(self):
    device, rule = Device(np.full(200, 0.9)), sampling.make("fixed", **SETTINGS)
    stream = point_stream.run(device.start, _points(rule, 200), 10)
    next(stream)
    next(stream)
    self.assertEqual(len(device.drawn[0]), 4100)
    # The window's first samples, and what little the calls under way are ahead.
    self.assertLess(sum(device.calls), 200 * 4100 / 2)
    self.assertEqual(sum(map(bool, device.drawn[votes.WINDOW + 10 :])), 0)

  def test_calls_take_about_a_second(self):
    now, calls = [0.0], []

    def start(images, keys, first, count):
      def result():
        calls.append(int(count.sum()))
        now[0] += calls[-1] / 500  # Of 500 samples a second.
        votes_for_1 = np.stack([0 * count, count], axis=-1)
        return votes_for_1[None], np.zeros((1, len(count)), np.int32)

      return result

    self.enter_context(mock.patch.object(jax, "device_get", lambda result: result()))
    clock = mock.patch.object(point_stream.time, "perf_counter", lambda: now[0])
    self.enter_context(clock)
    rule = sampling.make("fixed", **SETTINGS)
    ends = list(point_stream.run(start, _points(rule, 5), 10))
    self.assertEqual(calls[0], 40)
    self.assertLessEqual(max(calls), 500)
    self.assertGreaterEqual(np.median(calls), 480)
    np.testing.assert_allclose(sum(seconds for _, seconds in ends), now[0])

  def test_names_the_point_whose_logits_are_not_finite(self):
    device = Device(np.full(9, 0.9), bad=[(4, 7), (4, 99), (6, 3000)])
    stream = point_stream.run(
      device.start, _points(sampling.make("fixed", **SETTINGS), 9), 50
    )
    message = "certify, point p4: 2 of 100 noisy samples have non-finite logits"
    with self.assertRaisesRegex(errors.NonFiniteError, message):
      list(stream)

  def test_no_points(self):
    self.assertEmpty(list(point_stream.run(jax.device_get, iter(()), 10)))


if __name__ == "__main__":
  absltest.main()
