"""Penalties that keep a poison under a filter's threshold: scores, gradients, effect."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_attack as small
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.attacks import filter_penalty, movement, pacd, problem
from pacd_jax.data import training_sets
from pacd_jax.defenses.filters import l2, slab
from pacd_jax.experiment import kinds
from pacd_jax.experiment.entries import filters

_FILTERS = {"l2": (filter_penalty.l2, l2), "slab": (filter_penalty.slab, slab)}


def _penalty(name, *, num_poisoned, weight=10.0, **options):
  tools = kinds.PenaltyTools(small.setting()[1], 8, num_poisoned, weight)
  return kinds.DEFENCES[name].penalty(tools, filters.Distance(**options))


class ScoreTest(parameterized.TestCase):
  @parameterized.parameters("l2", "slab")
  def test_scores_are_the_filters(self, name):
    generator = np.random.default_rng(0)
    vectors, means = generator.normal(size=(20, 6)), generator.normal(size=(4, 6))
    score, module = _FILTERS[name]
    found = score(jnp.asarray(vectors), means[2], np.delete(means, 2, axis=0))
    labels = np.full(24, 2)
    labels[20:] = [0, 1, 2, 3]  # Of the slab's lines, which are to classes that are there.
    expected = module.score(np.concatenate([vectors, means]), labels, means)[:20]
    np.testing.assert_allclose(found, expected, rtol=1e-5)

  @parameterized.parameters("l2", "slab")
  def test_images_that_the_filter_keeps_cost_nothing(self, name):
    """Of clean data the removed share of the class is penalised, by its relative excess."""
    _, module = _FILTERS[name]
    attack_data, splits, _, _ = small.setting()
    base = attack_data.base_images
    vectors = (splits.train.images / 255.0).reshape(-1, 64)
    means = np.stack([vectors[splits.train.labels == c].mean(axis=0) for c in range(10)])
    scores = module.score(vectors, splits.train.labels, means)[splits.train.labels == 8]
    whole = training_sets.whole(splits.train)
    tools = types.Tools(None, None, splits.validation, 10)
    _, report = getattr(module, name)(whole, jax.random.key(0), tools)
    gone = np.isin(np.flatnonzero(splits.train.labels == 8), report.removed)
    penalty = _penalty(name, num_poisoned=len(base))
    self.assertEqual(float(penalty(base[~gone], base[~gone])), 0.0)
    threshold = report.values["threshold_of_class_8"]
    expected = 10.0 * (scores[gone] / threshold - 1.0).mean()
    np.testing.assert_allclose(penalty(base[gone], base[gone]), expected, rtol=1e-3)

  def test_the_centroid_goes_along_with_a_shared_change(self):
    """A poison of the whole class is where its clean images were, but not to an oracle."""
    base = small.setting()[0].base_images
    shifted = base + 0.1
    whole = _penalty("l2", num_poisoned=len(base))
    np.testing.assert_allclose(whole(shifted, base), whole(base, base), rtol=1e-4)
    part = _penalty("l2", num_poisoned=len(base) // 4)
    oracle = _penalty("l2", num_poisoned=len(base), centroids="trusted")
    for penalty in (part, oracle):
      self.assertGreater(float(penalty(shifted, base)), 1.2 * float(penalty(base, base)))


class UpperLevelTest(parameterized.TestCase):
  @parameterized.parameters("l2", "slab")
  def test_gradient_is_that_of_finite_differences(self, name):
    base = small.setting()[0].base_images[:20]
    penalty = _penalty(name, num_poisoned=20, share=0.5)
    with jax.enable_x64(True):
      base = jnp.asarray(base, jnp.float64)
      keys = jax.random.split(jax.random.key(0))
      u, direction = (jax.random.uniform(k, base.shape, jnp.float64) for k in keys)
      u = base + 0.1 * (u - 0.5)
      upper = types.UpperLevel(lambda theta, u: theta * 1.0)
      value = functools.partial(filter_penalty.added((penalty,), upper, base), 0.5)
      there, back = (value(u + step * direction) for step in (1e-6, -1e-6))
      along = jnp.vdot(jax.grad(value)(u), direction)
      self.assertGreater(float(value(u)), 0.6)
      np.testing.assert_allclose(along, (there - back) / 2e-6, rtol=1e-5)

  def test_another_draw_has_the_penalty_too(self):
    base = small.setting()[0].base_images[:20]
    upper = types.UpperLevel(
      lambda theta, u: theta, lambda number: lambda theta, u: theta + number
    )
    penalty = _penalty("l2", num_poisoned=20, share=0.5)
    added, of_images = filter_penalty.added((penalty,), upper, base), penalty(base, base)
    np.testing.assert_allclose(added(1.0, base), 1.0 + of_images, rtol=1e-6)
    np.testing.assert_allclose(added.redraw(3)(1.0, base), 4.0 + of_images, rtol=1e-6)
    self.assertIs(filter_penalty.added((), upper, base), upper)


class AttackTest(absltest.TestCase):
  @pytest.mark.long
  def test_the_filter_takes_out_less_of_the_poison(self):
    """Ten images of the class with a shared change: four of them go, or none."""
    _, splits, _, _ = small.setting()
    of_class = np.flatnonzero(splits.train.labels == 8)
    poisoned = np.sort(np.random.default_rng(0).permutation(of_class)[:10])
    data, key = problem.attack_data(splits, 8, poisoned=poisoned), jax.random.key(0)
    removed = []
    for penalties in ((), (_penalty("l2", num_poisoned=10),)):
      settings = small.settings(
        penalties=penalties,
        epsilon=0.3,
        step_size=lambda step: 0.03,
        momentum=0.9,
        num_shared_steps=100,
      )
      attack = pacd.make(settings)
      state, step = attack.init(data, key), jax.jit(attack.step)
      state = jax.jit(attack.restart)(state, data, key)
      for _ in range(40):
        state, _ = step(state, data, key)
      images, u = splits.train.images.copy(), movement.poisoned_images
      images[poisoned] = np.rint(255 * np.asarray(u(data.base_images, state.delta)))
      whole = training_sets.whole(types.Dataset(images, splits.train.labels))
      tools = types.Tools(None, None, splits.validation, 10)
      _, report = l2.l2(whole, jax.random.key(1), tools)
      removed.append(len(np.intersect1d(report.removed, poisoned)))
      self.assertGreater(float(jnp.abs(state.delta).mean()), 0.2)
    self.assertGreaterEqual(removed[0], 3)
    self.assertEqual(removed[1], 0)


if __name__ == "__main__":
  absltest.main()
