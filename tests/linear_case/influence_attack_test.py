"""The influence attack: points in their sets, a victim as SciPy trains it, descent."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.bilevel import hypergradient, linear_solve
from pacd_jax.linear_case import aims, feasible_sets, influence_attack, linear_classifiers

_RIDGE, _COUNT = 0.01, 3
_solve = functools.partial(linear_solve.conjugate_gradient, max_steps=30, tolerance=1e-14)


def _kept(total):
  return round(0.9 * total)


def _problem(count=40, d=5):
  rng = np.random.default_rng(0)
  signs = np.where(np.arange(count) % 2, 1.0, -1.0)
  points = 0.5 + 0.1 * signs[:, None] + 0.15 * rng.normal(size=(count, d))
  return np.clip(points, 0.0, 1.0), signs


def _run(**changes):
  points, signs = _problem()
  given = {
    "criterion": linear_classifiers.smooth_hinge,
    "ridge": _RIDGE,
    "count": _COUNT,
    "num_kept": _kept,
    "key": jax.random.key(0),
    "num_starts": 3,
    "num_steps": 15,
  }
  return influence_attack.run(points, signs, points, signs, **given | changes)


def _trained(points, signs):
  """The SVM with a smooth hinge as SciPy trains it: (w, b)."""
  t = linear_classifiers.TEMPERATURE

  def loss(theta):
    margins = (1.0 - signs * (points @ theta[:-1] + theta[-1])) / t
    return t * np.logaddexp(0.0, margins).mean() + 0.5 * _RIDGE * theta[:-1] @ theta[:-1]

  start = np.zeros(points.shape[1] + 1)
  found = scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-8})
  return found.x[:-1], found.x[-1]


class InfluenceAttackTest(parameterized.TestCase):
  @pytest.mark.long
  def test_points_are_inside_and_raise_the_error(self):
    watched = []
    found = _run(margin=0.002, watch=watched.append)
    self.assertEqual(watched, [1, 2, 3])
    self.assertEqual(found.values.shape, (3, 16))
    points, signs = _problem()
    every, of_every = np.concatenate([points, found.points]), np.append(signs, found.signs)
    for sign in (-1, 1):
      own, other = (every[of_every == s].mean(axis=0) for s in (sign, -sign))
      line = (own - other) / np.linalg.norm(own - other)
      of_class = every[of_every == sign] - own[None]
      inserted = found.points[found.signs == sign] - own[None]
      for scores, of_inserted in (
        (np.linalg.norm(of_class, axis=1), np.linalg.norm(inserted, axis=1)),
        (np.abs(of_class @ line), np.abs(inserted @ line)),
      ):
        threshold = np.sort(scores)[_kept(len(scores)) - 1]
        self.assertTrue((of_inserted <= threshold).all())
    self.assertBetween(found.points.min(), 0.0, 1.0)
    self.assertLessEqual(found.points.max(), 1.0)
    self.assertLess(found.value, found.values[:, 0].min())

  def test_value_is_of_a_victim_that_scipy_trains(self):
    found = _run(margin=0.002)
    points, signs = _problem()
    w, b = _trained(np.concatenate([points, found.points]), np.append(signs, found.signs))
    score = points @ w + b
    width = 0.25 * np.abs(score).mean()
    expected = -np.mean(1.0 / (1.0 + np.exp(signs * score / width)))
    np.testing.assert_allclose(found.value, expected, atol=1e-5)

  def test_starts_whose_sets_are_empty_are_left_out(self):
    """A margin that leaves room about the tight class, and none about the other."""
    points, signs = _problem()
    wide = np.where(signs[:, None] > 0, points, 0.4 + 0.02 * (points - 0.4))
    given = wide, signs, _COUNT, _kept, jax.random.key(0)
    whole = influence_attack.check(*given, num_starts=3)
    self.assertLen(whole, 3)
    some = influence_attack.check(*given, margin=0.1, num_starts=3)
    self.assertLen(some, 1)
    np.testing.assert_array_equal(some[0][1], 1.0)
    np.testing.assert_array_equal(some[0][0], whole[2][0])

  @parameterized.parameters(
    ({"count": 0}, "0 points are to be inserted"),
    ({"step_size": -1.0}, "step_size is -1.0"),
    ({"count": 45}, "the feasible set is empty: of the positive class"),
    ({"margin": 0.5}, "the feasible set is empty: no point"),
  )
  def test_refuses(self, changes, words):
    changes |= {"num_kept": lambda total: round(0.5 * total)}
    with self.assertRaisesRegex(errors.InputError, words):
      _run(**changes)

  def test_refuses_points_outside_of_the_box(self):
    points, signs = _problem()
    with self.assertRaisesRegex(errors.InputError, "outside of"):
      influence_attack.run(
        2.0 * points,
        signs,
        points,
        signs,
        criterion=linear_classifiers.logistic,
        ridge=_RIDGE,
        count=1,
        num_kept=_kept,
        key=jax.random.key(0),
      )


class DescentTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))
    self.points, self.signs = _problem()

  def _value(self, criterion, own):
    lower = linear_classifiers.lower_level(
      criterion,
      jnp.asarray(self.points),
      ridge=_RIDGE,
      signs=self.signs,
      signs_of_poison=own,
    )

    def upper(params, u):
      del u
      return aims.loss(criterion, params, self.points, self.signs)

    @jax.jit
    def both(u):
      params = linear_classifiers.fit(lower, u)
      du, _ = hypergradient.approx_grad(
        upper, lower, params, u, curvature=hypergradient.hessian, solve=_solve
      )
      return upper(params, u), du

    return both

  @parameterized.parameters("smooth_hinge", "logistic")
  def test_hypergradient_and_forward_backward_splitting(self, name):
    """The hypergradient is a central difference; small steps and projections descend."""
    own = np.array([1.0, -1.0])
    both = self._value(getattr(linear_classifiers, name), own)
    u = jnp.asarray(self.points[[0, 1]])
    _, du = both(u)
    rng = np.random.default_rng(1)
    for _ in range(3):
      along = rng.normal(size=u.shape)
      difference = (both(u + 1e-5 * along)[0] - both(u - 1e-5 * along)[0]) / 2e-5
      np.testing.assert_allclose(jnp.sum(du * along), difference, rtol=1e-4, atol=1e-8)
    ranks = np.array([17, 17])
    sets = feasible_sets.of_data(self.points, self.signs, u, own, ranks)
    project = jax.jit(jax.vmap(feasible_sets.project))
    u, values = project(sets, u), []
    for _ in range(12):
      value, du = both(u)
      values.append(float(value))
      u = project(sets, u - 0.5 * du)
    self.assertTrue((np.diff(values) <= 1e-12).all(), values)
    self.assertLess(values[-1], values[0] - 1e-4)


if __name__ == "__main__":
  absltest.main()
