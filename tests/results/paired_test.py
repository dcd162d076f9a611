"""Paired differences: their mean, and how often the interval holds the true one."""

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.certification import certificates
from pacd_jax.results import paired

_SETTINGS = dict(mode="fixed", sigma=0.25, n0=100, n=1000, alpha=0.001, bound="one")


def _records(radii, first=0, **changed):
  """Certificates of victims `[S, N]`; a negative radius is a wrong prediction."""
  found = []
  for seed, of_victim in enumerate(np.asarray(radii, float)):
    number = len(of_victim)
    label = np.zeros(number, int)
    predict = np.where(of_victim < 0, 1, 0)
    index = first + np.arange(number)
    sidecar = {**_SETTINGS, "dtype": "float32", "seed": seed} | changed
    arrays = (index, label, predict, np.abs(of_victim), predict == label, None, sidecar)
    found.append(certificates.Record(*arrays))
  return found


class PairedTest(parameterized.TestCase):
  def test_is_the_difference_of_the_acrs(self):
    one, other = [[0.4, -0.9], [0.2, 0.2]], [[0.5, 0.7], [0.3, 0.9]]
    found = paired.difference(_records(one), _records(other))
    self.assertAlmostEqual(found.mean, 0.2 - 0.6)
    self.assertEqual((found.num_victims, found.num_points), (2, 2))

  def test_points_and_victims_are_pairs(self):
    """A constant difference has no spread, however much points and victims differ."""
    radii = np.random.default_rng(0).uniform(0.2, 1.0, (5, 40))
    found = paired.difference(_records(radii - 0.1), _records(radii))
    np.testing.assert_allclose([found.low, found.high], -0.1)

  def test_victims_are_drawn_too(self):
    radii = np.array([[0.1] * 30, [0.5] * 30])
    found = paired.difference(_records(radii), _records(np.full((2, 30), 0.3)))
    # The standard error of two that differ by 0.4, times t of one degree of freedom.
    half = 0.2 * np.tan(np.pi * 0.475)
    np.testing.assert_allclose([found.low, found.high], [-half, half], rtol=0.01)

  @parameterized.parameters((1, 60, 0.0), (5, 35, 0.0), (5, 35, 0.01), (5, 35, 0.2))
  def test_the_interval_holds_the_true_difference_as_often_as_it_says(
    self, num_victims, num_points, spread
  ):
    """Whether it is the points or the victims that differ most."""
    generator, held, trials = np.random.default_rng(1), 0, 400
    shape = (num_victims, num_points)
    for _ in range(trials):
      points = generator.normal(2.0, 0.1, (1, num_points))
      change = -0.2 + generator.normal(0.0, 0.05, (1, num_points))
      change = change + generator.normal(0.0, spread, (num_victims, 1))
      noise = generator.normal(0.0, 0.05, (2, *shape))
      one, other = points + change + noise[0], points + noise[1]
      found = paired.difference(_records(one), _records(other), num_resamples=300)
      held += found.low <= -0.2 <= found.high
    # 95 % or more: few victims make it wide. Three standard errors under it.
    self.assertGreaterEqual(held / trials, 0.917)

  def test_a_ratio_is_of_the_acrs(self):
    one, other = [[0.4, -0.9], [0.2, 0.2]], [[0.5, 0.7], [0.3, 0.9]]
    self.assertAlmostEqual(paired.ratio(_records(one), _records(other)).mean, 0.2 / 0.6)
    radii = np.random.default_rng(0).uniform(0.2, 1.0, (5, 40))
    found = paired.ratio(_records(0.7 * radii), _records(radii))
    np.testing.assert_allclose([found.low, found.mean, found.high], 0.7)
    with self.assertRaisesRegex(ValueError, "zero"):
      paired.ratio(_records(one), _records(np.zeros((2, 2))))

  def test_the_interval_holds_the_true_ratio_as_often_as_it_says(self):
    generator, held, trials = np.random.default_rng(1), 0, 300
    for _ in range(trials):
      points = generator.normal(2.0, 0.3, (1, 35))
      victims = generator.normal(0.0, 0.1, (2, 5, 1))
      noise = generator.normal(0.0, 0.05, (2, 5, 35))
      one, other = 0.6 * (points + victims[0]) + noise[0], points + victims[1] + noise[1]
      found = paired.ratio(_records(one), _records(other), num_resamples=300)
      held += found.low <= 0.6 <= found.high
    self.assertGreaterEqual(held / trials, 0.912)  # 95 %, less three standard errors.

  def test_what_cannot_be_compared_is_refused(self):
    one = [[0.1, 0.2]]
    with self.assertRaisesRegex(errors.InputError, "different test points"):
      paired.difference(_records(one), _records(one, first=5))
    with self.assertRaisesRegex(errors.InputError, "differ in sigma: 0.25 and 0.5"):
      paired.difference(_records(one), _records(one, sigma=0.5))
    with self.assertRaisesRegex(errors.InputError, "the same seeds: .0, 1. and .0."):
      paired.difference(_records(one * 2), _records(one))
    with self.assertRaisesRegex(errors.InputError, "need test points"):
      paired.difference([], [])


if __name__ == "__main__":
  absltest.main()
