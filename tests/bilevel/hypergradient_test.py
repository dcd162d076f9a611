"""Hypergradients against closed forms, explicit matrices and finite differences."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from jax.flatten_util import ravel_pytree

from pacd_jax import types
from pacd_jax.bilevel import hypergradient, linear_solve


def _solver(damping, max_steps=200):
  def solve(matvec, b, start):
    return linear_solve.conjugate_gradient(
      linear_solve.damped(matvec, damping), b, start, max_steps=max_steps, tolerance=1e-14
    )

  return solve


def _relative_error(value, expected):
  value, expected = np.asarray(value), np.asarray(expected)
  return np.linalg.norm(value - expected) / np.linalg.norm(expected)


def _ridge(num_points=12, num_features=4, ridge=0.3):
  """Lower: |U w - y|^2 / 2N + ridge |w|^2 / 2; upper: |V w - z|^2 / 2. u is U, y fixed."""
  rng = np.random.default_rng(0)
  u, v = rng.normal(size=(num_points, num_features)), rng.normal(size=(7, num_features))
  y, z = rng.normal(size=num_points), rng.normal(size=7)

  # The ridge term is an output of its own, so that the criterion is convex in outputs.
  def outputs(w, u):
    return u @ w, w

  def criterion(out):
    predicted, w = out
    residual = predicted - y
    return residual @ residual / (2 * num_points) + 0.5 * ridge * (w @ w)

  def upper(w, u):
    del u
    return 0.5 * jnp.sum((v @ w - z) ** 2)

  def solution(u):
    matrix = u.T @ u / num_points + ridge * jnp.eye(num_features)
    return jnp.linalg.solve(matrix, u.T @ y / num_points)

  return u, types.LowerLevel(outputs, criterion), upper, solution


@functools.cache
def _two_layer_net():
  """A small tanh net with cross-entropy and an explicit pull of theta towards zero."""
  keys = jax.random.split(jax.random.key(0), 5)
  params = {
    "first": 0.5 * jax.random.normal(keys[0], (3, 5), jnp.float64),
    "second": 0.5 * jax.random.normal(keys[1], (5, 4), jnp.float64),
  }
  poison = jax.random.normal(keys[2], (6, 3), jnp.float64)
  labels = jnp.array([0, 1, 2, 3, 1, 2])
  points = jax.random.normal(keys[3], (5, 3), jnp.float64)

  def net(params, images):
    return jnp.tanh(images @ params["first"]) @ params["second"]

  def criterion(logits):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

  def upper(params, poison):
    return jnp.sum(net(params, points) ** 2) + 0.1 * jnp.sum(poison**3)

  return params, poison, types.LowerLevel(net, criterion), upper


@functools.cache
def _dense(curvature):
  """The net's explicit matrix, by the textbook formula for each kind."""
  params, poison, lower, _ = _two_layer_net()
  flat, unravel = ravel_pytree(params)
  if curvature is hypergradient.hessian:
    return np.asarray(jax.jit(jax.hessian(lambda v: lower(unravel(v), poison)))(flat))

  def outputs(v):
    return lower.outputs(unravel(v), poison)

  logits, jacobian = jax.jit(lambda v: (outputs(v), jax.jacobian(outputs)(v)))(flat)
  jacobian = np.asarray(jacobian).reshape(logits.size, flat.size)
  inner = np.asarray(jax.jit(jax.hessian(lower.criterion))(logits))
  return jacobian.T @ inner.reshape(logits.size, logits.size) @ jacobian


@functools.cache
def _derivatives():
  """Of the net: grad_u f, grad_theta f `[P]`, and d/du grad_theta g `[P, *u.shape]`."""
  params, poison, lower, upper = _two_layer_net()
  flat, unravel = ravel_pytree(params)

  @jax.jit
  def of(v, u):
    g_v, g_u = jax.grad(lambda v, u: upper(unravel(v), u), argnums=(0, 1))(v, u)
    cross = jax.jacobian(jax.grad(lambda v, u: lower(unravel(v), u)), argnums=1)(v, u)
    return g_u, g_v, cross

  return jax.tree.map(np.asarray, of(flat, poison))


@functools.cache
def _approx_grad(curvature):
  """The net's, of the damping."""
  params, poison, lower, upper = _two_layer_net()
  return jax.jit(
    lambda damping: hypergradient.approx_grad(
      upper, lower, params, poison, curvature=curvature, solve=_solver(damping)
    )
  )


_CURVATURES = (hypergradient.hessian, hypergradient.gauss_newton)


class MatvecTest(parameterized.TestCase):
  @parameterized.parameters(*_CURVATURES)
  def test_products_are_those_of_the_explicit_matrix(self, curvature):
    with jax.enable_x64(True):
      params, poison, lower, _ = _two_layer_net()
      flat, unravel = ravel_pytree(params)

      def product(e):
        return ravel_pytree(curvature(lower, params, poison).matvec(unravel(e)))[0]

      columns = jax.jit(jax.vmap(product))(jnp.eye(flat.size))
      np.testing.assert_allclose(columns, _dense(curvature), atol=1e-12)

  @parameterized.parameters(False, True)
  def test_hessian_products_by_the_mode_that_is_asked_for(self, reverse):
    """Explicit columns; of a function without a forward mode, by reverse mode alone."""
    with jax.enable_x64(True):
      params, poison, lower, _ = _two_layer_net()
      lower = lower._replace(reverse_products=reverse)
      flat, unravel = ravel_pytree(params)
      matvec = hypergradient.hessian(lower, params, poison).matvec
      columns = jax.vmap(lambda e: ravel_pytree(matvec(unravel(e)))[0])(jnp.eye(flat.size))
      np.testing.assert_allclose(columns, _dense(hypergradient.hessian), atol=1e-12)

      square = jax.custom_vjp(lambda x: x * x)
      square.defvjp(lambda x: (x * x, x), lambda x, g: (2.0 * g * x,))
      w = jnp.arange(3.0)
      one = types.LowerLevel(lambda w, u: square(w), jnp.sum, reverse_products=reverse)
      if reverse:
        product = hypergradient.hessian(one, w, w).matvec(jnp.ones(3))
        np.testing.assert_allclose(product, 2.0 * np.ones(3))

  def test_gauss_newton_is_positive_semi_definite_where_the_hessian_is_not(self):
    with jax.enable_x64(True):
      full, gauss_newton = (np.linalg.eigvalsh(_dense(kind)) for kind in _CURVATURES)
    self.assertLess(full.min(), -1e-3)
    self.assertGreater(gauss_newton.min(), -1e-12)


def _bent(convex):
  """(theta, u, lower) with a criterion that is not convex, on a pytree of outputs."""
  keys = jax.random.split(jax.random.key(0))
  theta = jax.random.normal(keys[0], (3, 4), jnp.float64)
  u = jax.random.normal(keys[1], (6, 3), jnp.float64)
  weights = jnp.linspace(-1.0, 2.0, 24).reshape(6, 4)

  def outputs(theta, u):
    return {"first": u @ theta, "second": jnp.sin(u) @ theta}

  def criterion(z):
    return jnp.sum(weights * jnp.cos(z["first"])) + jnp.mean(z["second"] ** 2)

  return theta, u, types.LowerLevel(outputs, criterion, convex)


class ConvexModelTest(absltest.TestCase):
  def test_gradient_is_the_criterions_and_curvature_the_convex_functions(self):
    with jax.enable_x64(True):
      theta, u, lower = _bent(lambda z: jnp.sum(z["first"] ** 4) + jnp.sum(z["second"]))
      logits = lower.outputs(theta, u)
      model = hypergradient.convex_model(lower, logits)
      chex.assert_trees_all_close(
        *jax.jit(lambda w, u: [jax.grad(level)(w, u) for level in (model, lower)])(theta, u)
      )
      functions = model.criterion, lower.convex
      chex.assert_trees_all_close(
        *jax.jit(lambda z: [jax.hessian(function)(z) for function in functions])(logits)
      )

  def test_gauss_newton_takes_both_its_derivatives_from_it(self):
    with jax.enable_x64(True):
      theta, u, lower = _bent(lambda z: sum(jnp.sum(x**2) for x in z.values()))

      @jax.jit
      def both(theta, u):
        model = hypergradient.convex_model(lower, lower.outputs(theta, u))
        matrix, mixed = hypergradient.gauss_newton(lower, theta, u)
        expected, _ = hypergradient.gauss_newton(model, theta, u)
        return (matrix(theta), expected(theta)), [
          jax.jacobian(jax.grad(level), argnums=1)(theta, u) for level in (mixed, model)
        ]

      for pair in both(theta, u):
        chex.assert_trees_all_close(*pair)

  def test_a_convex_criterion_is_left_as_it_is(self):
    with jax.enable_x64(True):
      _, _, lower, _ = _two_layer_net()
      self.assertIs(hypergradient.convex_model(lower, jnp.zeros((6, 4))), lower)


class ApproxGradTest(parameterized.TestCase):
  @parameterized.parameters(*_CURVATURES)
  def test_ridge_regression_has_its_closed_form(self, curvature):
    """d/du of upper(theta*(u)) through the closed-form solution theta*(u)."""
    with jax.enable_x64(True):
      u, lower, upper, solution = _ridge()
      expected = jax.jit(jax.grad(lambda u: upper(solution(u), u)))(jnp.asarray(u))
      approx_grad = functools.partial(
        hypergradient.approx_grad, curvature=curvature, solve=_solver(0.0)
      )
      du, info = jax.jit(lambda w, u: approx_grad(upper, lower, w, u))(
        solution(jnp.asarray(u)), jnp.asarray(u)
      )
    self.assertLess(_relative_error(du, expected), 1e-6)
    self.assertLess(float(info.solve.relative_residual), 1e-10)

  @parameterized.product(curvature=_CURVATURES, damping=(1.0, 3.0))
  def test_net_matches_the_explicit_matrix(self, curvature, damping):
    """du = grad_u f - (d/du grad_theta g)' (A + damping I)^-1 grad_theta f, all dense."""
    with jax.enable_x64(True):
      g_u, g_theta, cross = _derivatives()
      matrix = _dense(curvature) + damping * np.eye(len(g_theta))
      expected = g_u - np.tensordot(np.linalg.solve(matrix, g_theta), cross, axes=1)
      du, info = _approx_grad(curvature)(damping)
    self.assertLess(_relative_error(du, expected), 1e-6)
    self.assertFalse(bool(info.solve.negative_curvature))

  def test_logistic_regression_matches_finite_differences_of_retraining(self):
    """At its optimum, where H = Gauss-Newton, du is what retraining really does."""
    with jax.enable_x64(True):
      keys = jax.random.split(jax.random.key(1), 3)
      u = jax.random.normal(keys[0], (10, 3), jnp.float64)
      points = jax.random.normal(keys[1], (6, 3), jnp.float64)
      labels = jnp.array([0, 1] * 5)

      def outputs(w, u):
        return u @ w, w

      def criterion(out):
        logits, w = out
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean() + 0.05 * jnp.sum(w**2)

      lower = types.LowerLevel(outputs, criterion)

      def upper(w, u):
        del u
        return jnp.sum(jnp.tanh(points @ w)[:, 0])  # The columns of w are opposite.

      @jax.jit
      def retrain(u):
        def newton(_, w):
          flat, unravel = ravel_pytree(w)

          def of(theta):
            return lower(unravel(theta), u)

          step = jnp.linalg.solve(jax.hessian(of)(flat), jax.grad(of)(flat))
          return unravel(flat - step)

        return jax.lax.fori_loop(0, 20, newton, jnp.zeros((3, 2), jnp.float64))

      approx_grad = functools.partial(hypergradient.approx_grad, upper, lower)
      reached = jax.jit(lambda u: upper(retrain(u), u))
      du, _ = jax.jit(lambda u: approx_grad(retrain(u), u, solve=_solver(0.0)))(u)
      direction = jax.random.normal(keys[2], u.shape, jnp.float64)
      step = 1e-5
      there, back = reached(u + step * direction), reached(u - step * direction)
      along, expected = jnp.vdot(du, direction), (there - back) / (2 * step)
    np.testing.assert_allclose(along, expected, rtol=1e-6)

  def test_zero_upper_gradient_gives_zero(self):
    """No validation point is right: CG must return zero, not NaN."""
    with jax.enable_x64(True):
      params, poison, lower, _ = _two_layer_net()
      du, info = jax.jit(
        lambda: hypergradient.approx_grad(
          lambda params, poison: jnp.float64(0.0),
          lower,
          params,
          poison,
          solve=_solver(0.1),
        )
      )()
    np.testing.assert_array_equal(du, 0.0)
    self.assertEqual(int(info.solve.num_steps), 0)


if __name__ == "__main__":
  absltest.main()
