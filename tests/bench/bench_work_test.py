"""The benchmark's attack problem: one where a step has all of its work to do."""

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from configs import base
from pacd_jax.bench import work


class BenchWorkTest(parameterized.TestCase):
  @parameterized.parameters(
    "epsilon",
    "step_size",
    "num_noise_samples",
    "inverse_temperature",
    "lower_steps",
    "learning_rate",
    "solver_steps",
  )
  def test_the_setting_is_that_of_the_experiments(self, name):
    setting, config = work.Setting(), base.get_config()
    self.assertEqual(getattr(setting, name), config.attack[name])
    self.assertEqual(setting.sigma, config.sigma)

  def test_the_problem_is_images_of_all_classes(self):
    _, attack_data = work.attack_problem(18, 2, 3)
    for images, labels in zip(attack_data[::2], attack_data[1::2], strict=True):
      self.assertEqual(images.shape, (len(labels), *work.IMAGE_SHAPE))
      self.assertBetween(float(images.min()), 0.0, 0.5)
      self.assertBetween(float(images.max()), 0.5, 1.0)
    self.assertLen(set(np.concatenate(attack_data[1::2]).tolist()), 10)

  @pytest.mark.long
  def test_a_step_is_that_of_the_attack(self):
    """Traced only: `make bench` runs it, and refuses a solve that ends early."""
    params, attack_data = work.attack_problem(18, 2, 3)
    step = work.pacd_step(params, attack_data, work.Setting(), jax.random.key(0))
    state, metrics = jax.eval_shape(step)
    self.assertEqual(state.delta.shape, attack_data.base_images.shape)
    self.assertIn("num_steps", metrics)
    trained = state.surrogates.params
    for before, after in zip(*map(jax.tree.leaves, (params, trained)), strict=True):
      self.assertEqual((1, *before.shape), after.shape)


if __name__ == "__main__":
  absltest.main()
