"""Distortions where the smoothed classifier is linear: the distance to its hyperplane."""

import jax
import jax.numpy as jnp
import linear_classifier
import numpy as np
from absl.testing import absltest

from pacd_jax.certification import distortion

_DISTANCES = np.array([0.05, 0.2, 0.4, -0.1])


def _distances(search, weights=1.0):
  params = weights * linear_classifier.WEIGHTS, weights * linear_classifier.BIAS
  return distortion.distances(
    linear_classifier.apply,
    params,
    jnp.asarray(linear_classifier.images(_DISTANCES)),
    jnp.ones(4, jnp.int32),
    jax.random.key(0),
    sigma=0.1,
    search=search,
  )


class DistortionTest(absltest.TestCase):
  def test_is_the_distance_to_the_hyperplane(self):
    """Less than the bisection's last interval, and the votes' noise, above it."""
    search = distortion.Search(num_votes=4000, max_radius=0.5, num_halvings=9)
    found, is_found = _distances(search)
    np.testing.assert_array_equal(is_found, True)
    np.testing.assert_allclose(found[:3], _DISTANCES[:3], atol=0.5 / 2**9 + 0.006)
    self.assertEqual(found[3], 0.0)  # Wrong as it is.

  def test_a_radius_that_is_too_small_finds_nothing(self):
    found, is_found = _distances(distortion.Search(max_radius=0.1, num_votes=2000))
    np.testing.assert_array_equal(is_found, [True, False, False, True])
    np.testing.assert_allclose(found[1:3], 0.1)
    self.assertBetween(float(found[0]), 0.04, 0.065)

  def test_the_scale_of_logits_does_not_matter(self):
    search = distortion.Search(num_votes=500, max_radius=0.5)
    (small, _), (large, _) = _distances(search, 0.1), _distances(search, 2.0)
    np.testing.assert_allclose(small, large, atol=0.01)


if __name__ == "__main__":
  absltest.main()
