"""Paired differences: their mean, and how often the interval holds the true one."""

import numpy as np
from absl.testing import absltest

from pacd_jax import certificates, errors, paired


def _records(radii, first=0):
  """Certificates of victims `[S, N]`; a negative radius is a wrong prediction."""
  found = []
  for of_victim in np.asarray(radii, float):
    number = len(of_victim)
    label = np.zeros(number, int)
    predict = np.where(of_victim < 0, 1, 0)
    index = first + np.arange(number)
    arrays = (index, label, predict, np.abs(of_victim), predict == label, None, {})
    found.append(certificates.Record(*arrays))
  return found


class PairedTest(absltest.TestCase):
  def test_is_the_difference_of_the_acrs(self):
    found = paired.difference(_records([[0.4, -0.9], [0.2, 0.2]]), _records([[0.5, 0.7]]))
    self.assertAlmostEqual(found.mean, 0.2 - 0.6)
    self.assertEqual((found.num_victims, found.num_points), (2, 2))

  def test_points_are_drawn_for_both_sides_at_once(self):
    """A constant difference has no spread, however much the points differ."""
    radii = np.random.default_rng(0).uniform(0.2, 1.0, (1, 40))
    found = paired.difference(_records(radii - 0.1), _records(radii))
    np.testing.assert_allclose([found.low, found.high], -0.1)

  def test_victims_are_drawn_too(self):
    radii = np.array([[0.1] * 30, [0.5] * 30])
    found = paired.difference(_records(radii), _records([[0.3] * 30]))
    np.testing.assert_allclose([found.low, found.high], [-0.2, 0.2])

  def test_the_interval_holds_the_true_difference_about_as_often_as_it_says(self):
    generator, held, trials = np.random.default_rng(1), 0, 300
    for _ in range(trials):
      points = generator.normal(0.5, 0.1, (1, 60))
      noise = generator.normal(0.0, 0.05, (2, 60))
      a, b = points - 0.2 + noise[:1], points + noise[1:]
      found = paired.difference(_records(np.abs(a)), _records(np.abs(b)), num_resamples=400)
      truth = -0.2
      held += found.low <= truth <= found.high
    # 95 %, less what few points cost; four standard errors to either side.
    self.assertBetween(held / trials, 0.88, 0.99)

  def test_other_points_are_refused(self):
    with self.assertRaisesRegex(errors.InputError, "the same test points"):
      paired.difference(_records([[0.1, 0.2]]), _records([[0.1, 0.2]], first=5))
    with self.assertRaisesRegex(errors.InputError, "need victims"):
      paired.difference([], _records([[0.1, 0.2]]))


if __name__ == "__main__":
  absltest.main()
