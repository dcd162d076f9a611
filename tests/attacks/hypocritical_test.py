"""Hypocritical perturbations on a linear surrogate of digits."""

import functools

import jax
import numpy as np
import pytest
import small_attack
from absl.testing import absltest, parameterized

from pacd_jax.attacks.hypocritical import hypocritical
from pacd_jax.attacks.targeted_adversarial import targeted_adversarial

_STEPS = dict(warmup_steps=100, num_steps=20, step_size=0.2)


@functools.cache
def _run(radius=0.0, shared=False, norm="linf", epsilon=0.2, **options):
  history = []
  images = hypocritical(
    small_attack.settings(norm=norm, epsilon=epsilon),
    small_attack.setting()[0],
    jax.random.key(0),
    lambda done, values: history.append((done, float(values["loss"]))),
    crafting_radius=radius,
    crafting_steps=2,
    shared=shared,
    **(_STEPS | options),
  )
  return images, history


class HypocriticalTest(parameterized.TestCase):
  @parameterized.parameters(
    {"radius": 0.25}, {"shared": True, "norm": "l2", "epsilon": 1.5}
  )
  def test_the_surrogates_loss_falls_within_the_budget(self, **options):
    images, history = _run(**options)
    self.assertEqual([done for done, _ in history], [100, 110, 120])
    self.assertLess(history[2][1], 0.9 * history[1][1])  # Of the ten steps before.
    base = small_attack.setting()[0].base_images
    self.assertTrue(np.all((images >= 0) & (images <= 1)))
    delta = np.reshape(images - base, (len(base), -1))
    order = {"linf": np.inf, "l2": 2}[options.get("norm", "linf")]
    sizes = np.linalg.norm(delta, order, axis=1)
    self.assertLessEqual(sizes.max(), options.get("epsilon", 0.2) + 1e-5)

  def test_without_a_radius_it_is_targeted_at_the_images_own_class(self):
    settings, attack_data = small_attack.settings(epsilon=0.2), small_attack.setting()[0]
    same = targeted_adversarial(settings, attack_data, jax.random.key(0), label=8, **_STEPS)
    np.testing.assert_array_equal(_run()[0], same)

  @pytest.mark.long
  def test_the_crafting_model_is_attacked_in_training_alone(self):
    """So that its loss in training is higher, and that of a tiny step is the plain one."""
    (_, plain), (_, attacked) = _run(), _run(radius=1.0)
    self.assertGreater(attacked[0][1], 1.05 * plain[0][1])


if __name__ == "__main__":
  absltest.main()
