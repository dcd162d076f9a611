"""Several surrogates: when they restart, that each is its own, and what their mean is."""

import itertools

import jax
import jax.numpy as jnp
import long
import numpy as np
import optax
import pytest
import small_attack as small
from absl.testing import absltest, parameterized

from pacd_jax.attacks import pacd, problem, surrogates


class DueTest(parameterized.TestCase):
  def test_ages_are_staggered_from_the_first_step_on(self):
    def due(number):
      return surrogates.due(number, restart_every=12, num_surrogates=3)

    self.assertEqual(due(0), [(0, 0), (1, 4), (2, 8)])
    later = {number: due(number) for number in range(1, 30) if due(number)}
    expected = {4: [(2, 0)], 8: [(1, 0)], 12: [(0, 0)], 16: [(2, 0)], 20: [(1, 0)]}
    self.assertEqual(later, expected | {24: [(0, 0)], 28: [(2, 0)]})

  def test_one_is_restarted_every_so_many_steps(self):
    due = [surrogates.due(k, restart_every=5, num_surrogates=1) for k in range(11)]
    self.assertEqual([k for k in range(11) if due[k]], [0, 5, 10])


def _state(attack, num_surrogates, key):
  """All of them made, of different ages."""
  attack_data = small.setting()[0]
  state = attack.init(attack_data, key)
  for member in range(num_surrogates):
    state = attack.restart(state, attack_data, key, member, member)
  return state


class EnsembleTest(parameterized.TestCase):
  @pytest.mark.long
  def test_a_restart_changes_one_and_gives_it_its_age(self):
    attack, key = small.attack(num_surrogates=3), jax.random.key(0)
    state = _state(attack, 3, key)
    np.testing.assert_array_equal(state.surrogates.age, [30, 32, 34])  # 2 steps an age.
    state, _ = attack.step(state, small.setting()[0], key)
    again = attack.restart(state, small.setting()[0], key, 1, 0)
    np.testing.assert_array_equal(again.surrogates.age, [32, 30, 36])
    for before, after in zip(*map(jax.tree.leaves, (state, again)), strict=True):
      if before.shape[:1] == (3,) and before.ndim > 1:
        np.testing.assert_array_equal(before[0], after[0])
        np.testing.assert_array_equal(before[2], after[2])

  @parameterized.parameters(1, 2)
  @long.after(0)
  def test_at_once_changes_nothing_but_rounding(self, at_once):
    key = jax.random.key(1)
    states = []
    for number in (0, at_once):
      attack = small.attack(num_surrogates=3, surrogates_at_once=number)
      states.append(attack.step(_state(attack, 3, key), small.setting()[0], key))
    (one, logged), (other, logged_other) = states
    scale = float(jnp.abs(one.memory.first).max())
    np.testing.assert_allclose(one.memory.first, other.memory.first, atol=1e-4 * scale)
    np.testing.assert_allclose(logged["upper"], logged_other["upper"], rtol=1e-4)

  @pytest.mark.long
  def test_du_is_the_mean_over_surrogates(self):
    """With all of them the same and their own noise, it lies among the single ones."""
    key, attack_data = jax.random.key(2), small.setting()[0]
    several, single = small.attack(num_surrogates=2), small.attack()
    state = _state(several, 2, key)
    du = several.step(state, attack_data, key)[0].memory.first
    first = state._replace(surrogates=jax.tree.map(lambda leaf: leaf[:1], state.surrogates))
    alone = single.step(first, attack_data, key)[0].memory.first
    twice = jax.tree.map(lambda leaf: jnp.repeat(leaf[:1], 2, 0), state.surrogates)
    of_two = several.step(state._replace(surrogates=twice), attack_data, key)[0]
    # The first surrogate draws what the only one does; the second, its own.
    other = 2 * of_two.memory.first - alone
    self.assertGreater(float(jnp.vdot(other, alone)), 0.0)
    self.assertGreater(float(jnp.abs(other - alone).max()), 0.0)
    self.assertGreater(float(jnp.abs(du - alone).max()), 0.0)

  @pytest.mark.long
  def test_normalised_hypergradients_have_norm_one(self):
    key = jax.random.key(0)
    attack = small.attack(normalize=True)
    state, logged = attack.step(_state(attack, 1, key), small.setting()[0], key)
    np.testing.assert_allclose(jnp.linalg.norm(state.memory.first), 1.0, rtol=1e-5)
    np.testing.assert_allclose(logged["gradient_norm"], 1.0, rtol=1e-5)

  def test_tiny_hypergradients_have_norm_one_too(self):
    du = jnp.full((2, 8, 8, 1), 1e-22)
    np.testing.assert_allclose(jnp.linalg.norm(pacd._normalized(du)), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(pacd._normalized(0.0 * du), 0.0)

  @pytest.mark.long
  def test_a_warm_start_is_the_last_solution(self):
    """A second step from the same state solves further where it begins at the first's."""
    key, attack_data = jax.random.key(0), small.setting()[0]
    attack = small.attack(first_start=optax.tree.zeros_like, solver_steps=1)
    state = _state(attack, 1, key)
    for leaf in jax.tree.leaves(state.surrogates.solved):
      np.testing.assert_array_equal(leaf, 0.0)
    residuals = []
    for _ in range(4):
      after, logged = attack.step(state, attack_data, key)
      residuals.append(float(logged["relative_residual"]))
      solved = after.surrogates.solved
      state = state._replace(surrogates=state.surrogates._replace(solved=solved))
    self.assertTrue(all(b < a for a, b in itertools.pairwise(residuals)))
    fresh = attack.restart(after, attack_data, key)
    for leaf in jax.tree.leaves(fresh.surrogates.solved):
      np.testing.assert_array_equal(leaf, 0.0)

  @pytest.mark.long
  def test_a_state_does_not_grow(self):
    """Nothing is kept of the steps before: the same shapes, and as many live arrays."""
    key, attack_data = jax.random.key(0), small.setting()[0]
    attack = small.attack(num_surrogates=3)
    state = _state(attack, 3, key)
    shapes, alive = [], []
    for _ in range(4):
      state, _ = attack.step(state, attack_data, key)
      shapes.append(jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state))
      alive.append(sum(array.nbytes for array in jax.live_arrays()))
    self.assertTrue(all(shape == shapes[0] for shape in shapes))
    self.assertLen(set(alive[1:]), 1)


def _train(first, attack_data, images, key, num_steps):
  return surrogates.train(small.settings(), first, attack_data, images, key, key, num_steps)


class TrainTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.data, self.settings = small.setting()[0], small.settings()
    self.key = jax.random.key(3)
    self.first = surrogates.init(self.settings, (8, 8, 1), self.key)

  def test_a_step_is_adams_on_the_lower_level(self):
    batch = problem.draw_batch(self.settings, self.data, self.key, 0, self.key)
    noise_key = problem.fold(self.key, problem.LOWER_NOISE, 0)
    lower = problem.lower_level(self.settings, batch, noise_key)
    u = self.data.base_images + 0.05
    descent = jax.jit(jax.value_and_grad(lower))
    value, gradient = descent(self.first.params, u[batch.rows])
    after, loss = _train(self.first, self.data, u, self.key, 1)
    np.testing.assert_allclose(loss, value, rtol=1e-5)
    # Adam's first step is its rate along the sign, where its 1e-8 is nothing beside it.
    expected = jax.tree.map(
      lambda p, g: p - 1e-2 * jnp.sign(g), self.first.params, gradient
    )
    jax.tree.map(
      lambda actual, expected, g: np.testing.assert_allclose(
        *(np.where(np.abs(g) > 1e-5, a, 0.0) for a in (actual, expected)), atol=2e-5
      ),
      after.params,
      expected,
      gradient,
    )

  def test_parts_are_the_whole(self):
    u = self.data.base_images
    whole, loss = _train(self.first, self.data, u, self.key, 7)
    part, first_loss = _train(self.first, self.data, u, self.key, 3)
    part, second_loss = _train(part, self.data, u, self.key, 4)
    self.assertEqual((int(part.age), int(whole.age)), (7, 7))
    jax.tree.map(np.testing.assert_array_equal, part, whole)
    np.testing.assert_allclose((3 * first_loss + 4 * second_loss) / 7, loss, rtol=1e-5)

  def test_it_learns(self):
    losses, trained = [], self.first
    for _ in range(3):
      trained, loss = _train(trained, self.data, self.data.base_images, self.key, 50)
      losses.append(float(loss))
    self.assertLess(losses[-1], 0.6 * losses[0])


if __name__ == "__main__":
  absltest.main()
