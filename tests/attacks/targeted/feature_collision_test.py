"""Feature collision, on linear features with a closed form and on a network's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import targeted_setting as setting
from absl.testing import absltest, parameterized

from pacd_jax.attacks.targeted import feature_collision as collision


def _solution(matrix, target, base, beta):
  """argmin_x 1/2 |A (x - t)|^2 + beta / 2 |x - b|^2 of each image."""
  flat, t = base.reshape(len(base), -1).astype(np.float64), target.reshape(-1)
  gram = matrix @ matrix.T
  system = gram + beta * np.eye(len(gram))
  found = [np.linalg.solve(system, gram @ t + beta * b) for b in flat]
  return np.stack(found).reshape(base.shape)


class FeatureCollisionTest(parameterized.TestCase):
  @parameterized.parameters(0.5, 1.0)
  def test_objective_falls_to_the_closed_form(self, step_size):
    """Of linear features, with step <= 1 / L, where budget and box bind nothing."""
    matrix = setting.matrix()
    target, base = setting.images(5)[0], setting.images(5)[1:]
    beta = 1.0
    settings = collision.Settings(setting.linear, 10.0, "l2")
    problem = collision.Problem(
      jnp.asarray(matrix), setting.linear(matrix, target[None])[0], base, base, beta
    )
    state = collision.init(settings, problem, step_size)
    objectives = [np.asarray(state.objective)]
    first = np.asarray(state.step_size)
    for _ in range(60):
      state = collision.run(settings, problem, state, 1)
      objectives.append(np.asarray(state.objective))
    self.assertLessEqual(np.diff(objectives, axis=0).max(), 1e-5)
    self.assertLess(np.max(objectives[-1] / objectives[0]), 0.9)
    state = collision.run(settings, problem, state, 500)
    wanted = _solution(matrix.astype(np.float64), target, base, beta)
    np.testing.assert_allclose(state.images, wanted, atol=2e-4)
    # The first steps were taken: none was too long.
    np.testing.assert_allclose(np.max(first), step_size / setting.largest(), rtol=2e-2)

  def test_a_step_too_long_is_halved(self):
    """Else it would diverge."""
    target, base = setting.images(2)[0], setting.images(2)[1:]
    settings = collision.Settings(setting.linear, 10.0, "l2")
    matrix = jnp.asarray(setting.matrix())
    wanted = setting.linear(matrix, target[None])[0]
    problem = collision.Problem(matrix, wanted, base, base, 0.1)
    state = collision.init(settings, problem, 50.0)
    after = collision.run(settings, problem, state, 1)
    np.testing.assert_array_equal(after.images, state.images)
    np.testing.assert_allclose(after.step_size, state.step_size / 2)
    after = collision.run(settings, problem, state, 30)
    self.assertLess(float(after.objective[0]), float(state.objective[0]))

  def test_lipschitz_constant_is_the_largest_singular_values_square(self):
    matrix = jnp.asarray(setting.matrix())
    found = collision.lipschitz(setting.linear, matrix, setting.images(3))
    np.testing.assert_allclose(found, np.full(3, setting.largest()), rtol=1e-2)

  @parameterized.parameters(("linf", 0.1, 0.0), ("l2", 0.5, 0.3), ("linf", 0.05, 1.0))
  def test_is_in_the_budget_and_collides(self, norm, epsilon, opacity):
    features, params = setting.network()
    target, base, history = setting.images(4)[0], setting.images(4)[1:], []
    images = collision.feature_collision(
      features,
      params,
      target,
      base,
      lambda done, values: history.append((done, float(values["loss"]))),
      epsilon=epsilon,
      norm=norm,
      num_steps=50,
      beta=0.1,
      opacity=opacity,
    )
    setting.check_budget(self, images, base, epsilon, norm)
    of = jax.jit(functools.partial(features, params))
    apart = [
      np.sum((np.asarray(of(x)) - np.asarray(of(target[None]))) ** 2, axis=1).mean()
      for x in (base, images)
    ]
    self.assertLess(apart[1], 0.9 * apart[0])
    self.assertEqual([done for done, _ in history], [20, 40, 50])
    scale = np.sum(np.asarray(of(target[None])) ** 2)
    np.testing.assert_allclose(history[-1][1], apart[1] / scale, rtol=1e-3)

  def test_watermark(self):
    """Opacity 0 changes nothing, and 1 goes as far as the budget lets it."""
    target, base = setting.images(3)[0], setting.images(3)[1:]
    mark = functools.partial(collision.watermarked, base, target, norm="linf")
    np.testing.assert_array_equal(mark(0.0, epsilon=0.2), base)
    whole = np.broadcast_to(target, base.shape)
    np.testing.assert_allclose(mark(1.0, epsilon=1.0), whole, atol=1e-6)
    np.testing.assert_allclose(
      mark(1.0, epsilon=0.1), np.clip(whole, base - 0.1, base + 0.1), atol=1e-6
    )


if __name__ == "__main__":
  absltest.main()
