"""Sphere, slab and box: projections against SciPy and closed forms; which points pass."""

import jax
import numpy as np
import scipy.optimize
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.linear_case import feasible_sets

_project = jax.jit(feasible_sets.project)


def _set(seed, d=6, radius=0.5, width=0.1):
  rng = np.random.default_rng(seed)
  normal = rng.normal(size=d)
  centre = rng.uniform(0.2, 0.8, d)
  return feasible_sets.FeasibleSet(
    centre, np.float64(radius), normal / np.linalg.norm(normal), np.float64(width)
  )


class ProjectTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))

  def test_of_sphere_and_slab_is_the_closed_form(self):
    """Where the box does not matter, the offset is cut along v, and then across it."""
    for seed in range(20):
      rng = np.random.default_rng(seed)
      given = _set(seed, radius=0.1, width=0.06)._replace(centre=np.full(6, 0.5))
      point = 0.5 + 0.1 * rng.normal(size=6)
      offset = point - given.centre
      along = offset @ given.normal
      across = offset - along * given.normal
      scale = min(1.0, 0.1 / np.linalg.norm(offset))
      if abs(along) * scale > 0.06:  # The slab holds with equality.
        along = np.sign(along) * 0.06
        scale = min(1.0, np.sqrt(0.1**2 - 0.06**2) / np.linalg.norm(across))
        expected = along * given.normal + scale * across
      else:
        expected = scale * offset
      found = _project(given, point)
      np.testing.assert_allclose(found, given.centre + expected, atol=1e-8)

  def test_against_quadratic_programming(self):
    active = np.zeros(3)
    for seed in range(12):
      rng = np.random.default_rng(100 + seed)
      given = _set(seed, radius=0.5 + 0.3 * (seed % 3))
      point = rng.normal(0.5, 1.0, 6)
      found = np.asarray(_project(given, point))
      constraints = [
        {
          "type": "ineq",
          "fun": lambda x, g=given: g.radius**2 - np.sum((x - g.centre) ** 2),
        },
        {
          "type": "ineq",
          "fun": lambda x, g=given: g.width - (x - g.centre) @ g.normal,
        },
        {
          "type": "ineq",
          "fun": lambda x, g=given: g.width + (x - g.centre) @ g.normal,
        },
      ]
      best = scipy.optimize.minimize(
        lambda x, z=point: np.sum((x - z) ** 2),
        given.centre,
        jac=lambda x, z=point: 2.0 * (x - z),
        bounds=[(0.0, 1.0)] * 6,
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
      )
      np.testing.assert_allclose(found, best.x, atol=1e-5)
      self.assertTrue(feasible_sets.is_inside(given, found, 1e-9))
      away = found - given.centre
      active += [
        np.linalg.norm(away) > given.radius - 1e-6,
        abs(away @ given.normal) > given.width - 1e-6,
        ((found < 1e-9) | (found > 1 - 1e-9)).any(),
      ]
    self.assertTrue((active > 2).all(), active)  # Each constraint has mattered.

  def test_points_inside_stay(self):
    given = _set(0)
    np.testing.assert_array_equal(_project(given, given.centre), given.centre)
    once = _project(given, np.full(6, 3.0))
    np.testing.assert_allclose(_project(given, once), once, atol=1e-8)

  @parameterized.parameters(
    {"radius": -0.1}, {"width": -0.1}, {"centre": np.full(6, 1.4), "radius": 0.3}
  )
  def test_empty_sets_are_found(self, **changes):
    given = _set(0)._replace(normal=np.eye(6)[0])
    feasible_sets.check(given)
    changes = {name: np.asarray(value, np.float64) for name, value in changes.items()}
    with self.assertRaisesRegex(errors.InputError, "the feasible set is empty: no point"):
      feasible_sets.check(given._replace(**changes))


class OfDataTest(absltest.TestCase):
  def test_thresholds_are_those_of_sorted_scores(self):
    rng = np.random.default_rng(0)
    points, poison = rng.uniform(size=(12, 3)), rng.uniform(size=(3, 3))
    signs, own = np.where(np.arange(12) < 7, -1.0, 1.0), np.array([-1.0, 1.0, -1.0])
    with jax.enable_x64(True):
      found = feasible_sets.of_data(
        points, signs, poison, own, np.array([4, 2]), margin=0.01
      )
    every, of_every = np.concatenate([points, poison]), np.append(signs, own)
    means = {s: every[of_every == s].mean(axis=0) for s in (-1, 1)}
    for number, sign in enumerate(own):
      line = means[sign] - means[-sign]
      offsets = points[signs == sign] - means[sign][None]
      rank = 3 if sign < 0 else 1
      radius = np.sort(np.linalg.norm(offsets, axis=1))[rank] - 0.01
      width = np.sort(np.abs(offsets @ line) / np.linalg.norm(line))[rank] - 0.01
      np.testing.assert_allclose(found.centre[number], means[sign])
      np.testing.assert_allclose(found.radius[number], radius)
      np.testing.assert_allclose(found.width[number], width)

  def test_ranks(self):
    signs, own = np.array([-1, -1, -1, 1, 1]), np.array([-1, 1])
    self.assertEqual(feasible_sets.ranks(signs, own, (3, 3)), (2, 2))
    self.assertEqual(feasible_sets.ranks(signs, own, (9, 9)), (3, 2))
    with self.assertRaisesRegex(errors.InputError, "of the negative class the filters"):
      feasible_sets.ranks(signs, own, (1, 3))
    with self.assertRaisesRegex(errors.InputError, "there is no positive point"):
      feasible_sets.ranks(-np.ones(4), own, (3, 3))


if __name__ == "__main__":
  absltest.main()
