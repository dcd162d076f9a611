"""Influence functions against dense algebra, and against leave-one-out retraining."""

from unittest import mock

import numpy as np
import pytest
import scipy.optimize
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment.entries import data_sets
from pacd_jax.linear_case import influence


def _small(seed=0):
  rng = np.random.default_rng(seed)
  labels = np.arange(30) % 3
  points = rng.normal(size=(30, 2)) + 2.0 * np.eye(3, 2)[labels]
  return influence.problem(points, labels, num_classes=3, ridge=0.05)


def _halved(images):
  """Digits at 4x4, `[N, 16]` in [0, 1]: a dense problem that tests solve in no time."""
  blocks = images.reshape(-1, 4, 2, 4, 2).astype(np.float64) / 255.0
  return blocks.mean(axis=(2, 4)).reshape(-1, 16)


def _flat(params):
  return np.concatenate([params.weights, params.bias[None]]).ravel()


def _loss_and_gradient(flat, problem, weights):
  """The weighted loss, its gradient and those of each point, by the textbook."""
  inputs = np.concatenate([problem.points, np.ones((len(problem.points), 1))], axis=1)
  theta = flat.reshape(inputs.shape[1], -1)
  logits = inputs @ theta
  log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  wrong = np.exp(log_probs) - np.eye(problem.num_classes)[problem.labels]
  of_points = (inputs[:, :, None] * wrong[:, None, :]).reshape(len(inputs), -1)
  losses = -log_probs[np.arange(len(inputs)), problem.labels]
  value = (weights * losses).mean() + 0.5 * problem.ridge * flat @ flat
  return (
    value,
    (weights[:, None] * of_points).mean(axis=0) + problem.ridge * flat,
    of_points,
  )


class SoftmaxTest(parameterized.TestCase):
  def test_fit_against_numeric_minimisation(self):
    problem = _small()
    found = scipy.optimize.minimize(
      lambda flat: _loss_and_gradient(flat, problem, np.ones(30))[:2],
      np.zeros(9),
      jac=True,
      method="BFGS",
      options={"gtol": 1e-11},
    )
    np.testing.assert_allclose(_flat(influence.fit(problem)), found.x, atol=1e-8)

  def test_leave_one_out_is_a_fit_to_the_others(self):
    """Whose ridge is N / (N - 1) of it, as their mean is over fewer points."""
    problem = _small()
    indices = np.array([0, 7, 29])
    left = influence.leave_one_out(problem, influence.fit(problem), indices, at_once=2)
    for number, index in enumerate(indices):
      others = problem._replace(
        points=np.delete(problem.points, index, axis=0),
        labels=np.delete(problem.labels, index),
        ridge=problem.ridge * 30 / 29,
      )
      found = influence.Softmax(left.weights[number], left.bias[number])
      np.testing.assert_allclose(_flat(found), _flat(influence.fit(others)), atol=1e-10)

  @pytest.mark.long
  def test_leave_one_out_where_a_point_matters_much(self):
    """More features than points: with the Hessian of all of them, steps do not converge."""
    rng = np.random.default_rng(5)
    points = rng.normal(size=(60, 200))
    labels = (points[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(int)
    problem = influence.problem(points, labels, num_classes=2, ridge=1e-2)
    params = influence.fit(problem)
    with mock.patch.object(influence, "_newton", wraps=influence._newton) as alone:
      left = influence.leave_one_out(problem, params, np.arange(60))
    self.assertGreater(alone.call_count, 0)
    for call in alone.call_args_list:
      index = int(np.flatnonzero(call.args[2] == 0.0)[0])
      others = problem._replace(
        points=np.delete(points, index, axis=0),
        labels=np.delete(labels, index),
        ridge=problem.ridge * 60 / 59,
      )
      found = influence.Softmax(left.weights[index], left.bias[index])
      np.testing.assert_allclose(_flat(found), _flat(influence.fit(others)), atol=1e-10)
    with (
      mock.patch.object(influence, "_newton", lambda p, theta, *a: (theta, 1.0)),
      self.assertRaisesRegex(errors.NonFiniteError, f"without point {index}, the"),
    ):
      influence.leave_one_out(problem, params, np.array([index]))

  def test_mean_loss(self):
    problem = _small()
    params = influence.fit(problem)
    expected = _loss_and_gradient(_flat(params), problem, np.ones(30))[0]
    expected -= 0.5 * problem.ridge * _flat(params) @ _flat(params)
    loss = influence.mean_loss(params, problem.points, problem.labels)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    several = influence.Softmax(*(np.stack([leaf, leaf]) for leaf in params))
    losses = influence.mean_loss(several, problem.points, problem.labels)
    np.testing.assert_allclose(losses, [expected, expected], rtol=1e-12)

  @parameterized.parameters(
    (np.zeros((3, 2)), [0, 1], 2, 0.1, r"points \(3, 2\) and labels \(2,\)"),
    (np.zeros((2, 2)), [1, 1], 2, 0.1, r"labels \[1\] of 2 classes: give at least one"),
    (np.zeros((2, 2)), [0, 5], 2, 0.1, r"labels \[0, 5\] of 2 classes"),
    (np.zeros((2, 2)), [0, 0], 1, 0.1, "all labels are one"),
    (np.zeros((2, 2)), [0, 1], 2, 0.0, "ridge is 0.0"),
    (np.array([[0.0], [np.nan]]), [0, 1], 2, 0.1, "point 1 has a value that is not finite"),
  )
  def test_refuses(self, points, labels, num_classes, ridge, message):
    with self.assertRaisesRegex(errors.InputError, message):
      influence.problem(points, labels, num_classes=num_classes, ridge=ridge)


class InfluenceTest(absltest.TestCase):
  def test_is_the_formula(self):
    """-(1/N) grad f' H^-1 grad l_i, with H by central differences of the gradient."""
    problem, other = _small(), _small(1)
    params = influence.fit(problem)
    flat, ones = _flat(params), np.ones(30)
    step = 1e-4
    columns = [
      _loss_and_gradient(flat + step * e, problem, ones)[1]
      - _loss_and_gradient(flat - step * e, problem, ones)[1]
      for e in np.eye(9)
    ]
    hessian = np.array(columns) / (2.0 * step)
    of_points = _loss_and_gradient(flat, problem, ones)[2]
    upper = _loss_and_gradient(flat, other._replace(ridge=0.0), ones)[1]
    expected = -of_points @ np.linalg.solve(hessian, upper) / 30
    found, info = influence.of_points(problem, params, other.points, other.labels)
    np.testing.assert_allclose(found, expected, atol=1e-8)  # Of the differences.
    self.assertLess(float(info.relative_residual), 1e-9)

  @pytest.mark.long
  def test_correlates_with_leave_one_out_on_digits(self):
    splits = data_sets.load("digits")
    (x, y), (test_x, test_y) = (
      (_halved(part.images), part.labels) for part in (splits.train, splits.test)
    )
    problem = influence.problem(x, y, num_classes=10, ridge=0.01)  # As Koh and Liang's.
    params = influence.fit(problem)
    found, _ = influence.of_points(problem, params, test_x, test_y)
    some = np.arange(0, len(y), 3)
    left = influence.leave_one_out(problem, params, some, tolerance=1e-10)
    before = influence.mean_loss(params, test_x, test_y)
    change = influence.mean_loss(left, test_x, test_y) - before
    self.assertGreater(np.corrcoef(change, -found[some])[0, 1], 0.98)
    slope = np.polyfit(-found[some], change, 1)[0]
    self.assertBetween(slope, 0.9, 1.2)  # Not only correlated: as large.


if __name__ == "__main__":
  absltest.main()
