"""Targeted adversarial poisons on a linear surrogate of digits."""

import functools

import jax
import numpy as np
import pytest
import small_attack
from absl.testing import absltest, parameterized

from pacd_jax.attacks import surrogates
from pacd_jax.attacks.targeted_adversarial import targeted_adversarial

_SHARED = {"norm": "l2", "epsilon": 2.0, "shared": True, "label": 3}


@functools.cache
def _run(*, seed=0, label=9, norm="linf", epsilon=0.3, shared=False):
  """The poison, and what was reported."""
  history = []
  images = targeted_adversarial(
    small_attack.settings(norm=norm, epsilon=epsilon),
    small_attack.setting()[0],
    jax.random.key(seed),
    lambda done, values: history.append((done, float(values["loss"]))),
    label=label,
    warmup_steps=150,
    num_steps=25,
    step_size=0.2,
    shared=shared,
  )
  return images, history


class TargetedAdversarialTest(parameterized.TestCase):
  @parameterized.parameters({}, _SHARED)
  def test_is_in_the_budget_and_the_box(self, norm="linf", epsilon=0.3, **options):
    images, _ = _run(norm=norm, epsilon=epsilon, **options)
    base = small_attack.setting()[0].base_images
    self.assertEqual((images.dtype, images.shape), (np.float32, base.shape))
    self.assertTrue(np.all((images >= 0) & (images <= 1)))
    delta = np.reshape(images - base, (len(base), -1))
    order = {"linf": np.inf, "l2": 2}[norm]
    self.assertLessEqual(np.linalg.norm(delta, order, axis=1).max(), epsilon + 1e-5)

  @parameterized.parameters({}, _SHARED)
  @pytest.mark.long
  def test_another_clean_classifier_finds_the_other_class(self, **options):
    label = options.get("label", 9)
    attack_data, _, model, _ = small_attack.setting()
    settings, key = small_attack.settings(norm="linf", epsilon=0.3), jax.random.key(99)
    start, base = surrogates.init(settings, (8, 8, 1), key), attack_data.base_images
    clean = surrogates.train(settings, start, attack_data, base, key, key, 150)[0].params

    def predicted(images):
      return np.asarray(jax.jit(model.apply)(clean, images).argmax(axis=-1))

    self.assertLess((predicted(base) == label).mean(), 0.1)
    self.assertGreater((predicted(_run(**options)[0]) == label).mean(), 0.6)

  def test_reports_both_phases(self):
    """Of 100 optimiser steps, and of 10 steps of the poison, at most."""
    _, history = _run()
    self.assertEqual([done for done, _ in history], [100, 150, 160, 170, 175])
    self.assertLess(history[1][1], history[0][1])
    self.assertLess(history[4][1], 0.5 * history[2][1])

  def test_without_another_class_the_loss_of_the_own_one_rises(self):
    images, history = _run(label=None)
    of_poison = [loss for done, loss in history if done > 150]
    self.assertEqual(of_poison, sorted(of_poison))
    self.assertGreater(of_poison[-1], 1.2 * of_poison[0])
    attack_data, _, model, _ = small_attack.setting()
    settings, key = small_attack.settings(norm="linf", epsilon=0.3), jax.random.key(9)
    start, base = surrogates.init(settings, (8, 8, 1), key), attack_data.base_images
    clean = surrogates.train(settings, start, attack_data, base, key, key, 150)[0].params
    labels = np.asarray(attack_data.base_labels)
    right = [
      (np.asarray(model.apply(clean, each)).argmax(axis=-1) == labels).mean()
      for each in (base, images)
    ]
    self.assertGreater(right[0], 0.9)
    self.assertLess(right[1], 0.5)

  def test_another_key_draws_another(self):
    one, other = _run()[0], _run(seed=1)[0]
    self.assertGreater(np.abs(one - other).max(), 0)


if __name__ == "__main__":
  absltest.main()
