"""ApproxGrad on linear classifiers: what Theorem 1 says, and what d dimensions change."""

import functools

import jax
import jax.numpy as jnp
import long
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.bilevel import hypergradient, linear_solve
from pacd_jax.certification import certify
from pacd_jax.linear_case import least_squares, linear_attack, linear_classifiers, theory

_solve = functools.partial(linear_solve.conjugate_gradient, max_steps=20, tolerance=1e-14)


@functools.partial(jax.jit, static_argnums=0)
def _fit(criterion, positive, u, ridge):
  lower = linear_classifiers.lower_level(criterion, positive, ridge=ridge)
  return linear_classifiers.fit(lower, u)


@functools.partial(jax.jit, static_argnums=0)
def _acr_and_gradient(criterion, positive, u, test, ridge):
  """The ACR after training to convergence, and ApproxGrad's hypergradient."""
  lower = linear_classifiers.lower_level(criterion, positive, ridge=ridge)
  params = linear_classifiers.fit(lower, u)

  def upper(params, u):
    del u
    return linear_classifiers.negative_acr(params, test)

  approx_grad = functools.partial(
    hypergradient.approx_grad, curvature=hypergradient.hessian, solve=_solve
  )
  return upper(params, u), approx_grad(upper, lower, params, u)[0]


class Float64TestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))


class TheoremTest(Float64TestCase):
  """The package's solver on the problem of Theorem 1."""

  NUM_STARTS = 8

  def _problem(self, seed):
    rng = np.random.default_rng(seed)
    positive, negative = rng.normal(2.0, 1.0, 6), rng.normal(0.0, 2.0, 6)
    if positive.mean() - negative.mean() < 0.2:
      positive = positive + 1.0 + negative.mean() - positive.mean()
    return positive, negative, rng

  def test_hypergradient_is_the_closed_form(self):
    for seed in range(50):
      positive, negative, _ = self._problem(seed)
      columns = (jnp.asarray(x)[:, None] for x in (positive, negative, negative))
      acr, du = _acr_and_gradient(linear_classifiers.squared, *columns, 0.0)
      expected = least_squares.hypergradient(positive, negative, negative)
      np.testing.assert_allclose(du[:, 0], expected, atol=1e-10)
      expected = least_squares.negative_acr(positive, negative, negative)
      np.testing.assert_allclose(acr, expected, atol=1e-10)

  @parameterized.parameters(0.7, 1.4)
  @pytest.mark.long
  def test_every_start_ends_in_the_case_of_its_side(self, ratio):
    ends = {1: 0, 2: 0, "plateau": 0}
    for seed in range(40):
      positive, negative, rng = self._problem(seed)
      epsilon = ratio * (positive.mean() - negative.mean())
      spread = rng.uniform(-1.0, 1.0, (self.NUM_STARTS, 6))
      level = np.linspace(-1.0, 1.0, self.NUM_STARTS)[:, None]
      starts = negative[None] + epsilon * np.clip(level + 0.5 * spread, -1.0, 1.0)
      result = linear_attack.run(
        positive[:, None],
        negative[:, None],
        negative[:, None],
        criterion=linear_classifiers.squared,
        epsilon=epsilon,
        step_size=0.1 * epsilon,
        num_steps=25,
        starts=starts[:, :, None],
      )
      optima = theory.local_optima(positive, negative, epsilon)
      self.assertLen(optima, 1 if ratio < 1.0 else 2)
      for start, end, acr in zip(starts, result.poison[..., 0], result.acr, strict=True):
        optimum = optima[int(start.mean() > positive.mean())]
        np.testing.assert_allclose(acr[-1], optimum.acr, atol=1e-10)
        if acr[-2] > 0.0:
          np.testing.assert_allclose(end, optimum.poison, atol=1e-12)
          ends[optimum.case] += 1
        else:  # Nothing is left to certify: R is 0 around it, as it is at the corner.
          ends["plateau"] += 1
          self.assertEqual(optimum.acr, 0.0)
    self.assertEqual(sum(ends.values()), 40 * self.NUM_STARTS)
    if ratio < 1.0:
      self.assertEqual(ends, {1: 320, 2: 0, "plateau": 0})
    else:
      self.assertGreater(min(ends.values()), 20)


@pytest.mark.long
class DimensionsTest(Float64TestCase):
  """Two correlated clusters in [0, 1]^2."""

  EPSILON, SIGMA = 0.1, 0.25

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    covariance = 0.07**2 * np.array([[1.0, 0.6], [0.6, 1.0]])
    draw = functools.partial(rng.multivariate_normal, cov=covariance)
    self.positive = draw([0.68, 0.65], size=40)
    self.negative, self.test = draw([0.38, 0.38], size=40), draw([0.38, 0.38], size=30)

  def test_hypergradient_against_retraining(self):
    criterion, ridge = linear_classifiers.logistic, 1e-2
    classes = [jnp.asarray(x) for x in (self.positive, self.negative, self.test)]
    _, du = _acr_and_gradient(criterion, *classes, ridge)
    direction = np.random.default_rng(1).normal(size=self.negative.shape)

    def acr(h):
      moved = classes[1] + h * direction
      return float(_acr_and_gradient(criterion, classes[0], moved, classes[2], ridge)[0])

    # Richardson's extrapolation of central differences: an error of order h^6.
    coarse, middle, fine = ((acr(h) - acr(-h)) / (2.0 * h) for h in (4e-3, 2e-3, 1e-3))
    first, second = (4.0 * middle - coarse) / 3.0, (4.0 * fine - middle) / 3.0
    expected = (16.0 * second - first) / 15.0
    np.testing.assert_allclose(np.vdot(du, direction), expected, atol=1e-10)

  def _attack(self, criterion, ridge, starts=None):
    return linear_attack.run(
      self.positive,
      self.negative,
      self.test,
      criterion=criterion,
      epsilon=self.EPSILON,
      ridge=ridge,
      step_size=self.EPSILON / 20.0,
      num_steps=60,
      starts=starts,
    )

  def _monte_carlo_acr(self, params):
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    with jax.enable_x64(False):
      predicted, radius, _ = certify.certify(
        linear_classifiers.apply,
        params,
        linear_classifiers.as_images(self.test),
        jax.random.key(0),
        sigma=self.SIGMA,
        n0=100,
        n=20_000,
        alpha=1e-3,
      )
    return np.where(predicted == 0, radius, 0.0).mean()

  @parameterized.parameters(
    (linear_classifiers.squared, 0.0),
    (linear_classifiers.logistic, 1e-3),
    (linear_classifiers.squared_hinge, 1e-3),
  )
  @long.after(1)
  def test_lowers_the_radius_that_certificates_find(self, criterion, ridge):
    attack = self._attack(criterion, ridge)
    moves = np.asarray(attack.poison) - self.negative
    self.assertLessEqual(np.abs(moves).max(), self.EPSILON + 1e-12)
    clean = _fit(criterion, self.positive, self.negative, ridge)
    acr = {}
    for name, params in (("clean", clean), ("poisoned", attack.params)):
      exact = float(linear_classifiers.negative_acr(params, self.test))
      found = self._monte_carlo_acr(params)
      self.assertBetween(exact - found, 0.0, 0.05 * self.SIGMA)
      acr[name] = exact
    np.testing.assert_allclose(attack.acr[np.array([0, -1])], list(acr.values()))
    # A shift of everything by epsilon away from the other class, as Theorem 1 has it.
    away = -self.EPSILON * np.sign(np.asarray(clean.weights))
    shifted = _fit(criterion, self.positive, self.negative + away, ridge)
    by_shift = float(linear_classifiers.negative_acr(shifted, self.test))
    self.assertLess(by_shift, 0.8 * acr["clean"])
    towards = -moves.mean(axis=0) @ clean.weights
    cosine = towards / np.linalg.norm(moves.mean(axis=0)) / np.linalg.norm(clean.weights)
    if criterion is linear_classifiers.squared:
      # Spreading the class turns the boundary, which one dimension does not have.
      self.assertLess(acr["poisoned"], 0.3 * by_shift)
      self.assertLess(cosine, 0.5)
    else:
      self.assertLess(acr["poisoned"], 1.01 * by_shift)
      self.assertGreater(cosine, 0.95)

  def test_a_start_that_is_too_far_is_projected(self):
    attack = self._attack(
      linear_classifiers.squared, 0.0, self.negative[None] + [[[1.0, 0]]]
    )
    self.assertEqual(attack.acr.shape, (1, 61))
    self.assertLessEqual(
      np.abs(np.asarray(attack.poison)[0] - self.negative).max(), self.EPSILON + 1e-12
    )


class BadInputTest(parameterized.TestCase):
  @parameterized.parameters(
    (np.ones((2, 2)), np.ones((2, 2)), np.ones((1, 2)), "both classes have the same mean"),
    (np.ones((2, 2)), np.zeros((2, 2)), np.ones((0, 2)), "test has the shape .0, 2."),
    (np.ones((2, 2)), np.zeros((2, 2)), np.ones((1, 3)), "give points of 2 features"),
  )
  def test_refuses(self, positive, negative, test, message):
    with self.assertRaisesRegex(errors.InputError, message):
      linear_attack.run(
        positive,
        negative,
        test,
        criterion=linear_classifiers.squared,
        epsilon=0.1,
        step_size=0.01,
        num_steps=1,
      )

  @parameterized.parameters(
    ({"epsilon": -0.1}, "epsilon is -0.1"),
    ({"step_size": np.inf}, "step_size is inf"),
    ({"starts": np.zeros((3, 2))}, "starts has the shape .3, 2."),
  )
  def test_refuses_settings(self, changed, message):
    settings = {"epsilon": 0.1, "step_size": 0.01, "num_steps": 1} | changed
    with self.assertRaisesRegex(errors.InputError, message):
      linear_attack.run(
        np.ones((2, 2)),
        np.zeros((2, 2)),
        np.ones((1, 2)),
        criterion=linear_classifiers.squared,
        **settings,
      )


if __name__ == "__main__":
  absltest.main()
