"""The attack: its step against a transcription of Algorithm 1, and its invariants."""

import jax
import jax.numpy as jnp
import long
import numpy as np
import optax
import pytest
import small_attack as small
from absl.testing import absltest, parameterized

from pacd_jax import smoothing
from pacd_jax.attacks import movement
from pacd_jax.data import arrays, batches


class StepTest(parameterized.TestCase):
  def test_follows_algorithm_1(self):
    """One step, written out again from the paper with explicit matrices and no options."""
    attack_data, _, model, loss = small.setting()
    attack, key = small.attack(solver_steps=60), jax.random.key(3)
    before = attack.restart(attack.init(attack_data, key), attack_data, key)
    after, metrics = attack.step(before, attack_data, key)

    # The mini-batches and noises of step 0, from the documented streams.
    def draw(stream, images, batch_size):
      return batches.batch_indices(
        jax.random.fold_in(key, stream),
        jnp.int32(0),
        num_examples=len(images),
        batch_size=batch_size,
      )

    clean = draw(1, attack_data.clean_images, 40)
    rows = draw(2, attack_data.base_images, 10)
    val = draw(3, attack_data.val_images, 20)
    val_noise = jax.random.fold_in(jax.random.fold_in(key, 4), 0)
    noise = jax.random.fold_in(jax.random.fold_in(key, 5), 0)
    u = attack_data.base_images[rows]
    labels = jnp.concatenate([attack_data.clean_labels[clean], jnp.full(10, 8)])

    def zeta(theta, u, t):
      images = jnp.concatenate([arrays.to_float(attack_data.clean_images[clean]), u])
      return loss(theta, images, labels, jax.random.fold_in(noise, t))[0]

    def xi(theta):
      probs = smoothing.soft_smoothed_probs(
        model.apply,
        theta,
        arrays.to_float(attack_data.val_images[val]),
        jax.random.clone(val_noise),
        sigma=small.SIGMA,
        num_samples=4,
        inverse_temperature=2.0,
      )
      return smoothing.average_certified_radius(probs, jnp.full(20, 8), sigma=small.SIGMA)

    first, adam = small.surrogate(before), optax.adam(1e-2)
    theta, opt_state = first.params, first.opt_state
    descent, update = jax.jit(jax.grad(zeta)), jax.jit(adam.update)
    for t in range(2):
      updates, opt_state = update(descent(theta, u, t), opt_state)
      theta = optax.apply_updates(theta, updates)
    flat, unravel = jax.flatten_util.ravel_pytree(theta)
    zeta_of = jax.jit(lambda v, u: zeta(unravel(v), u, 2))
    hessian = jax.jit(jax.hessian(zeta_of))(flat, u)  # Linear: also the Gauss-Newton one.
    matrix = np.asarray(hessian, np.float64) + 0.5 * np.eye(flat.size)
    value, grad_xi = jax.jit(jax.value_and_grad(xi))(theta)
    grad_xi, _ = jax.flatten_util.ravel_pytree(grad_xi)
    p = jnp.asarray(np.linalg.solve(matrix, np.asarray(grad_xi)), jnp.float32)
    du = -jax.jit(jax.grad(lambda u: jnp.vdot(jax.grad(zeta_of)(flat, u), p)))(u)
    np.testing.assert_allclose(metrics["upper"], value, rtol=1e-5)
    self.assertGreater(float(metrics["upper"]), 0.0)
    # 60 steps of CG in float32 and a dense solve agree to about 1e-4 here.
    np.testing.assert_allclose(
      after.memory.first[rows], du, atol=1e-3 * float(jnp.abs(du).max())
    )
    np.testing.assert_allclose(metrics["gradient_norm"], jnp.linalg.norm(du), rtol=1e-3)
    clear = np.abs(du) > 0.01 * np.abs(du).max()
    expected = np.clip(u - 0.02 * np.sign(du), 0, 1)
    moved = movement.poisoned_images(attack_data.base_images, after.delta)[rows]
    np.testing.assert_allclose(np.asarray(moved)[clear], expected[clear], atol=1e-6)
    others = np.setdiff1d(np.arange(len(after.delta)), np.asarray(rows))
    np.testing.assert_array_equal(np.asarray(after.delta)[others], 0.0)

  @parameterized.product(num_shared_steps=(3, 0, 100), norm=("linf", "l2"))
  @long.after(1)
  def test_stays_in_the_ball_and_the_box(self, norm, num_shared_steps):
    epsilon = {"linf": 0.05, "l2": 0.4}[norm]
    attack = small.attack(
      norm=norm,
      epsilon=epsilon,
      num_shared_steps=num_shared_steps,
      step_size=lambda step: 0.3,
    )
    state, _ = small.run(attack, 6)
    base = small.setting()[0].base_images
    self.assertLessEqual(np.abs(state.delta).max(), epsilon + 1e-6)
    images = np.asarray(movement.poisoned_images(base, state.delta))
    self.assertGreaterEqual(images.min(), 0.0)
    self.assertLessEqual(images.max(), 1.0)
    if num_shared_steps < 6:  # Each image's own perturbation is kept inside the box.
      np.testing.assert_allclose(base + state.delta, images, atol=1e-6)
    flat = np.abs(np.asarray(state.delta)).reshape(len(base), -1)
    size = flat.max(1) if norm == "linf" else np.sqrt((flat**2).sum(1))
    self.assertLessEqual(size.max(), epsilon + 1e-6)
    self.assertGreater(size.max(), 0.5 * epsilon)

  def test_shared_perturbation_is_one_for_the_class(self):
    state, _ = small.run(small.attack(num_shared_steps=100, momentum=0.5), 4)
    delta = np.asarray(state.delta)
    np.testing.assert_array_equal(delta, np.broadcast_to(delta[:1], delta.shape))
    self.assertGreater(np.abs(delta).max(), 0.0)

  @pytest.mark.long
  def test_linear_victims_soft_acr_falls(self):
    """A convex lower level: the attack must win against its own surrogate."""
    _, history = small.run(small.attack(num_shared_steps=100, epsilon=0.3), 40)
    upper = [record["upper"] for record in history]
    self.assertGreater(np.mean(upper[:3]), 0.01)
    self.assertLess(np.mean(upper[-5:]), 0.5 * np.mean(upper[:3]))

  @parameterized.parameters(2, 0, 100)
  @long.after(0)
  def test_momentum_is_a_running_mean_that_shared_steps_give_to_all(self, num_shared_steps):
    """v = m v + (1 - m) du, and delta follows its sign by the schedule's length."""
    attack_data, key = small.setting()[0], jax.random.key(0)
    sizes = jnp.array([0.01, 0.02, 0.005, 0.01])
    options = dict(num_shared_steps=num_shared_steps, step_size=lambda step: sizes[step])
    plain, attack = (
      small.attack(**options),
      small.attack(momentum=0.75, **options),
    )
    state = attack.restart(attack.init(attack_data, key), attack_data, key)
    base = np.asarray(attack_data.base_images)
    for number in range(4):
      du = plain.step(state, attack_data, key)[0].memory.first  # Without memory: du itself.
      after, _ = attack.step(state, attack_data, key)
      rows = batches.batch_indices(
        jax.random.fold_in(key, 2), jnp.int32(number), num_examples=len(base), batch_size=10
      )
      moved = np.zeros(len(base), bool)
      moved[np.asarray(rows)] = True
      moved |= number < num_shared_steps
      velocity = 0.75 * np.asarray(state.memory.first) + 0.25 * np.asarray(du)
      velocity = np.where(moved[:, None, None, None], velocity, state.memory.first)
      np.testing.assert_allclose(after.memory.first, velocity, rtol=1e-4, atol=1e-9)
      direction = np.sign(velocity) * moved[:, None, None, None]
      delta = np.clip(state.delta - float(sizes[number]) * direction, -0.1, 0.1)
      if number >= num_shared_steps:
        delta = np.clip(base + delta, 0, 1) - base
      np.testing.assert_allclose(after.delta, delta, atol=1e-6)
      state = after

  def test_start_is_the_first_perturbation(self):
    attack_data, key = small.setting()[0], jax.random.key(0)
    start = jnp.full((1, 8, 8, 1), 0.03)
    state = small.attack().init(attack_data, key, start)
    np.testing.assert_array_equal(state.delta, np.full(state.delta.shape, np.float32(0.03)))

  def test_metrics_carry_the_solve(self):
    _, history = small.run(small.attack(), 1)
    self.assertEqual(history[0]["num_steps"], 5)
    self.assertBetween(history[0]["relative_residual"], 0.0, 1.0)
    self.assertEqual(history[0]["negative_curvature"], 0.0)

  def test_is_a_function_of_its_key(self):
    one, same, other = (
      np.asarray(small.run(small.attack(), 3, jax.random.key(seed))[0].delta)
      for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    self.assertGreater(np.abs(one - other).max(), 0.0)

  def test_zero_hypergradient_moves_nothing(self):
    """A surrogate that gets every validation point wrong gives no direction."""
    attack_data = small.setting()[0]
    attack, key = small.attack(), jax.random.key(0)
    state = attack.init(attack_data, key)
    bias = jnp.zeros(10).at[8].set(-1e3)
    params = state.surrogates.params
    params |= {"Dense_0": params["Dense_0"] | {"bias": bias[None]}}
    state = state._replace(surrogates=state.surrogates._replace(params=params))
    state, metrics = attack.step(state, attack_data, key)
    np.testing.assert_array_equal(state.delta, 0.0)
    self.assertEqual(float(metrics["upper"]), 0.0)
    self.assertTrue(all(np.isfinite(np.asarray(value)) for value in metrics.values()))

  def test_restart_gives_a_fresh_surrogate_trained_on_the_poison(self):
    attack_data = small.setting()[0]
    attack, key = small.attack(), jax.random.key(0)
    state, _ = small.run(attack, 2)
    restarted = attack.restart(state, attack_data, key)
    np.testing.assert_array_equal(restarted.delta, state.delta)
    moved = jax.tree.map(
      lambda a, b: float(jnp.abs(a - b).max()),
      small.surrogate(restarted).params,
      small.surrogate(state).params,
    )
    self.assertGreater(min(jax.tree.leaves(moved)), 0.0)


if __name__ == "__main__":
  absltest.main()
