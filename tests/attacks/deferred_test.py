"""Deferred poisoning: the curvature against closed forms, and the attack with its term."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_attack
from absl.testing import absltest, parameterized

from pacd_jax import losses, types
from pacd_jax.attacks import deferred, problem
from pacd_jax.attacks.error_minimizing import error_minimizing

_ROUNDS = dict(num_rounds=3, surrogate_steps=10, poison_steps=3, step_size=0.3, shared=True)


def _quadratic(matrix):
  """x'Ax / 2 + theta's sum of x, for images `[B, 2, 2, 1]`."""

  def outputs(params, images, key):
    del key
    flat = images.reshape(len(images), -1)
    return 0.5 * jnp.sum((flat @ matrix) * flat, axis=1) + flat @ params

  return types.Loss(outputs, lambda logits, labels: (logits.mean(), {}))


@functools.cache
def _softmax_regression():
  rng = np.random.default_rng(0)
  params = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
  loss = losses.standard(lambda params, images: images.reshape(len(images), -1) @ params)
  images = jnp.asarray(rng.uniform(size=(5, 2, 2, 1)), jnp.float32)
  return loss, params, images, jnp.asarray([0, 1, 2, 1, 0])


class CurvatureTest(parameterized.TestCase):
  def test_a_quadratics_product_is_its_matrix_times_the_direction(self):
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(4, 4)).astype(np.float32)
    matrix = matrix + matrix.T
    images, z = rng.normal(size=(2, 3, 2, 2, 1)).astype(np.float32)
    product = deferred.hessian_product(
      _quadratic(matrix), jnp.ones(4), images, jnp.zeros(3, int), jax.random.key(0), z
    )
    expected = z.reshape(3, 4) @ matrix
    np.testing.assert_allclose(np.reshape(product, (3, 4)), expected, rtol=1e-4)

  def test_is_the_mean_of_the_squared_hessians(self):
    loss, params, images, labels = _softmax_regression()

    @jax.jit
    def estimates(keys):
      return jax.vmap(lambda key: deferred.curvature(loss, params, images, labels, key))(
        keys
      )

    found = estimates(jax.random.split(jax.random.key(0), 20_000))
    probs = np.asarray(jax.nn.softmax(images.reshape(5, -1) @ params))
    exact = 0.0
    for p in probs:  # H = W (diag(p) - pp') W', whatever the label.
      hessian = params @ (np.diag(p) - np.outer(p, p)) @ params.T
      exact += np.trace(hessian.T @ hessian) / 5
    self.assertAlmostEqual(float(found.mean()) / exact, 1.0, delta=0.03)
    self.assertGreater(float(found.std()), 0.0)

  def test_a_product_is_the_finite_difference_of_gradients(self):
    loss, params, images, labels = _softmax_regression()
    key, step = jax.random.key(0), 1e-2
    z = jax.random.normal(jax.random.key(3), images.shape, jnp.float32)

    @jax.jit
    def both(key):
      def total(inputs):
        return 5 * loss(params, inputs, labels, jax.random.clone(key))[0]

      low, high = (jax.grad(total)(images + h * z) for h in (-step, step))
      args = loss, params, images, labels, key, z
      return (high - low) / (2 * step), deferred.hessian_product(*args)

    difference, product = both(key)
    np.testing.assert_allclose(product, difference, atol=2e-3 * np.abs(product).max())


@functools.cache
def _run(weight, **changes):
  history = []
  images = deferred.deferred(
    small_attack.settings(**changes),
    small_attack.setting()[0],
    jax.random.key(0),
    lambda done, values: history.append(float(values["class_loss"])),
    weight=weight,
    **_ROUNDS,
  )
  return images, history


class DeferredTest(parameterized.TestCase):
  @pytest.mark.long
  def test_without_weight_it_minimises_errors_beside_the_whole_clean_data(self):
    attack_data = small_attack.setting()[0]
    base = np.rint(np.asarray(attack_data.base_images) * 255.0).astype(np.uint8)
    whole: problem.AttackData = attack_data._replace(
      clean_images=jnp.concatenate([attack_data.clean_images, base]),
      clean_labels=jnp.concatenate([attack_data.clean_labels, attack_data.base_labels]),
    )
    settings = small_attack.settings()
    plain = error_minimizing(settings, whole, jax.random.key(0), **_ROUNDS)
    np.testing.assert_allclose(_run(0.0)[0], plain, atol=1e-5)

  @pytest.mark.long
  def test_the_term_moves_the_poison_within_the_budget(self):
    (plain, values), (images, curved) = _run(0.0), _run(1.0)
    base = np.asarray(small_attack.setting()[0].base_images)
    self.assertTrue(np.all((images >= 0) & (images <= 1)))
    self.assertLessEqual(np.abs(images - base).max(), 0.1 + 1e-6)
    self.assertGreater(np.abs(images - plain).max(), 0.05)
    self.assertLess(curved[-1], values[-1])  # The term is taken off the loss.

  def test_a_loss_with_an_adversary_is_refused(self):
    loss = small_attack.loss("adversarial", small_attack.setting()[2])
    with self.assertRaisesRegex(ValueError, "the loss has an adversary"):
      _run(1.0, loss=loss)


if __name__ == "__main__":
  absltest.main()
