"""Linear classifiers against SciPy, the one-dimensional closed form, and certificates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.linear_case import least_squares, linear_classifiers

_CRITERIA = {
  "squared": linear_classifiers.squared,
  "logistic": linear_classifiers.logistic,
  "squared_hinge": linear_classifiers.squared_hinge,
}


def _loss(name, score, signs):
  """The textbook's formula and its derivative in the score, in NumPy."""
  margin = signs * score
  if name == "squared":
    return (score - signs) ** 2, 2.0 * (score - signs)
  if name == "logistic":
    return np.logaddexp(0.0, -margin), -signs / (1.0 + np.exp(margin))
  hinge = np.maximum(1.0 - margin, 0.0)
  return hinge**2, -2.0 * signs * hinge


@functools.partial(jax.jit, static_argnums=0)
def _fit(criterion, positive, negative, ridge):
  lower = linear_classifiers.lower_level(criterion, positive, ridge=ridge)
  return linear_classifiers.fit(lower, negative)


class FitTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(jax.enable_x64(True))

  def _fit(self, name, positive, negative, ridge):
    params = _fit(_CRITERIA[name], jnp.asarray(positive), jnp.asarray(negative), ridge)
    return np.asarray(params.weights), float(params.bias)

  @parameterized.parameters(*_CRITERIA)
  def test_against_numeric_minimisation(self, name):
    rng, ridge = np.random.default_rng(0), 0.1
    positive, negative = rng.normal(0.5, 1.0, (9, 3)), rng.normal(-0.5, 1.0, (14, 3))
    points = np.concatenate([positive, negative])
    signs = np.repeat([1.0, -1.0], [9, 14])

    def value(theta):
      losses, slopes = _loss(name, points @ theta[:3] + theta[3], signs)
      gradient = np.append(slopes @ points, slopes.sum()) / len(signs)
      gradient[:3] += ridge * theta[:3]
      return losses.mean() + 0.5 * ridge * theta[:3] @ theta[:3], gradient

    found = scipy.optimize.minimize(
      value, np.zeros(4), jac=True, method="BFGS", options={"gtol": 1e-11}
    )
    weights, bias = self._fit(name, positive, negative, ridge)
    np.testing.assert_allclose(np.append(weights, bias), found.x, atol=1e-8)

  def test_one_dimension_is_the_closed_form(self):
    rng = np.random.default_rng(1)
    for _ in range(10):
      positive, negative = rng.normal(1.0, 2.0, 6), rng.normal(size=4)
      weights, bias = self._fit("squared", positive[:, None], negative[:, None], 0.0)
      expected = least_squares.fit(positive, negative)
      np.testing.assert_allclose((*weights, bias), expected, rtol=1e-10, atol=1e-12)


class RadiusTest(absltest.TestCase):
  """Monte-Carlo certificates are held against it in linear_attack_test.py."""

  def test_is_the_distance_to_the_boundary(self):
    params = linear_classifiers.Linear(jnp.array([3.0, 4.0]), jnp.float32(-3.5))
    points = jnp.array([[0.5, 0.5], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    radius = linear_classifiers.certified_radius(
      params, points, jnp.array([1.0, 1.0, 1.0, -1.0])
    )
    np.testing.assert_allclose(radius, [0.0, 0.7, 0.0, 0.7], rtol=1e-6)
    acr = linear_classifiers.negative_acr(params, points)
    np.testing.assert_allclose(acr, 0.35, rtol=1e-6)  # Two points at 0.7, two wrong.
    logits = linear_classifiers.apply(params, linear_classifiers.as_images(points))
    np.testing.assert_allclose(logits[:, 1], [0.0, 3.5, -3.5, -3.5], rtol=1e-6)
    np.testing.assert_array_equal(logits[:, 0], -logits[:, 1])


class CheckTest(parameterized.TestCase):
  @parameterized.parameters(
    (np.zeros((0, 2)), np.ones((3, 2)), "positive has the shape .0, 2.: give at least one"),
    (np.ones((3, 2)), np.zeros((0, 2)), "negative has the shape .0, 2."),
    (np.ones(3), np.ones((3, 1)), "positive has the shape .3,.: .* as .N, d."),
    (np.ones((3, 2)), np.zeros((3, 1)), "2 features and negative points 1: use the same"),
    (np.full((3, 2), np.nan), np.zeros((3, 2)), "positive holds numbers that are not"),
    (np.ones((2, 2)), np.ones((3, 2)), "both classes have the same mean"),
  )
  def test_refuses(self, positive, negative, message):
    with self.assertRaisesRegex(errors.InputError, message):
      linear_classifiers.check_classes(positive, negative)

  def test_takes_classes_that_share_one_coordinate_of_their_means(self):
    linear_classifiers.check_classes(np.ones((2, 2)), np.array([[1.0, 0.0]]))


if __name__ == "__main__":
  absltest.main()
