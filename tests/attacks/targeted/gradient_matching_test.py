"""Gradient matching, on a linear classifier and by its definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import targeted_setting as setting
from absl.testing import absltest, parameterized

from pacd_jax import losses
from pacd_jax.attacks.targeted import gradient_matching as matching
from pacd_jax.experiment.entries import networks


@functools.cache
def _classifier():
  model = networks.make("linear", num_classes=3, image_shape=setting.SHAPE)
  params = model.init(jax.random.key(0), setting.SHAPE)
  noisy = losses.gaussian_augmentation(model.apply, sigma=0.1)
  return params, {"standard": losses.standard(model.apply), "gaussian": noisy}


@functools.cache
def _run(loss="standard", norm="linf", epsilon=0.2, num_restarts=1, mask=False, seed=0):
  """The poison of label 1, its base images, and what was reported."""
  params, known = _classifier()
  target, base, history = setting.images(5)[0], setting.images(5)[1:], []
  kept = jax.tree.map(jnp.ones_like, params)
  kept["Dense_0"]["bias"] *= 0.0
  images = matching.gradient_matching(
    matching.Settings(known[loss], epsilon, norm, 40, 0.05),
    params,
    target,
    base,
    np.ones(4, np.int32),
    jax.random.key(seed),
    lambda done, values: history.append((done, float(values["loss"]))),
    label=1,
    num_restarts=num_restarts,
    mask=kept if mask else None,
  )
  return images, base, history


def _loss(images, mask=False):
  """The matching loss of poisons without noise, by its definition in NumPy."""
  params, known = _classifier()

  def gradient(images):
    labels = np.ones(len(images), np.int32)
    found = jax.grad(lambda p: known["standard"](p, images, labels, jax.random.key(0))[0])
    of_layer = jax.jit(found)(params)["Dense_0"]
    parts = [of_layer["kernel"]] if mask else [of_layer["kernel"], of_layer["bias"]]
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)

  a, b = gradient(setting.images(5)[:1]), gradient(images)
  return 1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


class MatchingLossTest(parameterized.TestCase):
  def _trees(self, number):
    rng = np.random.default_rng(number)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return {"a": draw(3, 2), "b": draw(4)}, {"a": draw(3, 2), "b": draw(4)}

  def test_is_one_minus_the_cosine_over_all_leaves(self):
    for number in range(5):
      one, other = self._trees(number)
      flat, found = (
        [np.concatenate([np.ravel(x["a"]), x["b"]]) for x in (one, other)],
        float(matching.matching_loss(one, other)),
      )
      cosine = flat[0] @ flat[1] / (np.linalg.norm(flat[0]) * np.linalg.norm(flat[1]))
      self.assertAlmostEqual(found, 1 - cosine, places=5)
      self.assertBetween(found, 0.0, 2.0)

  @parameterized.parameters((3.0, 0.0), (1e-6, 0.0), (-2.0, 2.0))
  def test_parallel_gradients(self, factor, wanted):
    one, _ = self._trees(0)
    scaled = jax.tree.map(lambda leaf: factor * leaf, one)
    self.assertAlmostEqual(float(matching.matching_loss(one, scaled)), wanted, places=5)

  @parameterized.parameters(1e-8, 100.0)
  def test_scales_change_nothing(self, factor):
    one, other = self._trees(1)
    scaled = jax.tree.map(lambda leaf: factor * leaf, one)
    found = [float(matching.matching_loss(a, other)) for a in (one, scaled)]
    self.assertAlmostEqual(*found, places=5)

  def test_no_gradient_is_neither_near_nor_far(self):
    one, _ = self._trees(2)
    nothing = jax.tree.map(jnp.zeros_like, one)
    self.assertEqual(float(matching.matching_loss(one, nothing)), 1.0)


class GradientMatchingTest(parameterized.TestCase):
  @parameterized.parameters({}, {"norm": "l2", "epsilon": 0.8}, {"loss": "gaussian"})
  def test_is_in_the_budget_and_matches(self, **options):
    images, base, history = _run(**options)
    epsilon, norm = options.get("epsilon", 0.2), options.get("norm", "linf")
    setting.check_budget(self, images, base, epsilon, norm)
    self.assertLess(_loss(images), 0.7 * _loss(base))
    self.assertEqual([done for done, _ in history], [25, 40])

  def test_reports_the_loss_of_its_poison(self):
    images, _, history = _run()
    self.assertAlmostEqual(history[-1][1], _loss(images), places=4)

  def test_losses_that_are_reported_are_under_the_same_noise(self):
    """So that blocks and restarts compare: without steps there is one loss."""
    params, known = _classifier()
    history = []
    matching.gradient_matching(
      matching.Settings(known["gaussian"], 0.2, "linf", 60, 1e-9),
      params,
      setting.images(5)[0],
      setting.images(5)[1:],
      np.ones(4, np.int32),
      jax.random.key(0),
      lambda done, values: history.append(float(values["loss"])),
      label=1,
    )
    self.assertLen(history, 3)
    self.assertAlmostEqual(history[0], history[1], places=5)
    self.assertAlmostEqual(history[1], history[2], places=5)

  def test_steps_fall_to_a_tenth_at_three_moments(self):
    """Of 8 steps before the fourth, the sixth and the last; each with Adam's state new."""
    params, known = _classifier()
    settings = matching.Settings(known["standard"], 1.0, "linf", 8, 0.01)
    base, labels = jnp.asarray(setting.images(4)), jnp.ones(4, jnp.int32)
    aim = jax.tree.map(jnp.ones_like, params)
    sides = matching._Sides(params, None, aim, base, labels)
    zero = jnp.zeros_like(base)
    start = zero, optax.scale_by_adam().init(zero)
    keys, sizes = (jax.random.key(0), jax.random.key(1)), []
    for number in range(8):
      (delta, _), _ = matching._run(settings, sides, start, keys, number, 1)
      sizes.append(float(jnp.abs(delta).max()))
    falls = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    np.testing.assert_allclose(sizes, 0.01 * 0.1**falls, rtol=2e-3)

  def test_the_target_s_gradient_is_a_mean_over_draws_of_noise(self):
    params, known = _classifier()
    settings = matching.Settings(known["gaussian"], 0.2, "linf", 1, 0.1)
    target, label = jnp.asarray(setting.images(1)[0]), jnp.ones(1, jnp.int32)

    def spread(gradient):
      keys = jax.random.split(jax.random.key(3), 40)
      found = [jax.tree.leaves(gradient(key)) for key in keys]
      flat = [np.concatenate([np.ravel(leaf) for leaf in leaves]) for leaves in found]
      return np.std(flat, axis=0).mean()

    one = jax.jit(
      lambda key: matching._gradient(settings, params, None, target[None], label, key)
    )
    many = functools.partial(matching._target_gradient, settings, params, None, target, 1)
    self.assertAlmostEqual(spread(many) / spread(one), 32**-0.5, delta=0.04)

  def test_what_victims_keep_is_not_matched(self):
    images, _, history = _run(mask=True)
    self.assertAlmostEqual(history[-1][1], _loss(images, mask=True), places=4)

  def test_the_best_restart_is_kept(self):
    images, _, history = _run(num_restarts=3)
    ends = [loss for done, loss in history if done % 40 == 0]
    self.assertLen(ends, 3)
    self.assertAlmostEqual(_loss(images), min(ends), places=4)
    self.assertGreater(max(ends) - min(ends), 1e-5)

  def test_another_key_draws_another(self):
    self.assertGreater(np.abs(_run()[0] - _run(seed=1)[0]).max(), 0)


if __name__ == "__main__":
  absltest.main()
