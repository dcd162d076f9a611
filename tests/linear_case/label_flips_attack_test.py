"""Label flips: exact counts, the surest points first, and ALFA against all flips."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.linear_case import label_flips, linear_classifiers

_RIDGE = 0.1


def _problem(seed, count=8):
  rng = np.random.default_rng(seed)
  signs = np.where(np.arange(count) % 2, 1.0, -1.0)
  return rng.normal(size=(count, 2)) + signs[:, None], signs


def _objective(criterion, clean, points, signs):
  """ALFA's objective with the victim trained to convergence, in NumPy but for training."""
  fitted = linear_classifiers.fit_points(criterion, points, jnp.asarray(signs), _RIDGE)
  loss, of_clean = (
    np.asarray(criterion(jnp.asarray(points @ w + b), jnp.asarray(signs))).mean()
    for w, b in (map(np.asarray, fitted), map(np.asarray, clean))
  )
  return loss - of_clean + 0.5 * _RIDGE * np.sum(np.asarray(fitted.weights) ** 2)


class FlipsTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 5, 9)
  def test_random_flips_are_exactly_so_many(self, count):
    found = label_flips.random_flips(9, count, jax.random.key(count))
    self.assertLen(set(found.tolist()), count)
    self.assertContainsSubset(found.tolist(), range(9))
    self.assertTrue((np.diff(found) > 0).all())
    turned = label_flips.flip(np.ones(9), found)
    self.assertEqual((turned == -1).sum(), count)

  def test_random_flips_are_of_the_key(self):
    draws = {
      tuple(label_flips.random_flips(50, 5, jax.random.key(seed))) for seed in (0, 0, 1, 2)
    }
    self.assertLen(draws, 3)

  def test_farthest_first_takes_the_surest(self):
    params = linear_classifiers.Linear(jnp.array([1.0]), jnp.float32(-1.0))
    points, signs = (
      np.array([[4.0], [-1.0], [9.0], [1.5], [0.0]]),
      np.array([1, -1, -1, 1, -1]),
    )
    # y f(x) is 3, 2, -8, 0.5, 1.
    found = label_flips.farthest_first(params, points, signs, 3)
    np.testing.assert_array_equal(found, [0, 1, 4])

  @parameterized.parameters(-1, 10)
  def test_refuses_counts_out_of_range(self, count):
    with self.assertRaisesRegex(errors.InputError, f"{count} labels are to be flipped"):
      label_flips.random_flips(9, count, jax.random.key(0))


class AlfaTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))

  def test_against_all_flips(self):
    """Never below the best of all; often equal to it: starts end in local optima."""
    criterion, hits = linear_classifiers.smooth_hinge, 0
    for seed in range(12):
      points, signs = _problem(seed)
      clean = linear_classifiers.fit_points(criterion, points, jnp.asarray(signs), _RIDGE)
      every = {
        subset: _objective(
          criterion, clean, points, label_flips.flip(signs, np.array(subset))
        )
        for subset in itertools.combinations(range(len(signs)), 2)
      }
      found = label_flips.alfa(
        points, signs, 2, criterion=criterion, ridge=_RIDGE, key=jax.random.key(seed)
      )
      self.assertLen(found.flipped, 2)
      self.assertTrue((np.diff(found.history) <= 1e-9).all(), found.history)
      of_found = every[tuple(found.flipped.tolist())]
      np.testing.assert_allclose(found.objective, of_found, atol=1e-9)
      best = min(every.values())
      self.assertGreaterEqual(found.objective, best - 1e-9)
      hits += found.objective <= best + 1e-9
    self.assertGreaterEqual(hits, 8)


if __name__ == "__main__":
  absltest.main()
