"""The two levels of PACD: what the surrogate trains on, and what is held constant."""

import functools

import jax
import jax.numpy as jnp
import long
import numpy as np
import optax
import pytest
import small_attack as small
from absl.testing import absltest, parameterized

from pacd_jax import evasion, losses
from pacd_jax.attacks import problem
from pacd_jax.defenses import mixing
from pacd_jax.defenses.transforms import blur
from pacd_jax.models import augment


class AttackDataTest(absltest.TestCase):
  def test_sees_train_and_validation_only(self):
    attack_data, splits, _, _ = small.setting()
    num_target = int((splits.train.labels == 8).sum())
    self.assertLen(attack_data.base_images, num_target)
    self.assertLen(attack_data.clean_images, len(splits.train.labels) - num_target)
    self.assertNotIn(8, np.asarray(attack_data.clean_labels))
    np.testing.assert_array_equal(attack_data.val_labels, 8)
    expected = splits.validation.images[splits.validation.labels == 8]
    np.testing.assert_array_equal(attack_data.val_images, expected)

  def test_what_is_not_poisoned_of_the_class_is_clean(self):
    whole, splits, _, _ = small.setting()
    poisoned = np.flatnonzero(splits.train.labels == 8)[::2]
    part = problem.attack_data(splits, 8, poisoned=poisoned)
    np.testing.assert_array_equal(part.base_images, whole.base_images[::2])
    np.testing.assert_array_equal(part.base_labels, 8)
    others = np.delete(np.arange(len(splits.train.labels)), poisoned)
    np.testing.assert_array_equal(part.clean_images, splits.train.images[others])
    np.testing.assert_array_equal(part.clean_labels, splits.train.labels[others])
    np.testing.assert_array_equal(part.val_images, whole.val_images)


class LevelsTest(parameterized.TestCase):
  @pytest.mark.long
  def test_the_lower_level_is_of_images_as_victims_change_them(self):
    """Clean and poisoned alike, with the derivative through the change."""
    attack_data, _, model, _ = small.setting()
    plain = small.settings()
    blurred = plain._replace(transform=functools.partial(blur.blur, sigma=1.0))
    key, noise_key = jax.random.split(jax.random.key(3))
    batch = problem.draw_batch(plain, attack_data, key, 0, key)
    poison = attack_data.base_images[batch.rows]
    params = model.init(jax.random.key(4), (8, 8, 1))

    def value(settings, batch, poison):
      lower = problem.lower_level(settings, batch, jax.random.clone(noise_key))
      return lower(params, poison)

    by_hand = batch._replace(images=blurred.transform(batch.images))
    found, du = jax.value_and_grad(value, argnums=2)(blurred, batch, poison)

    def changed(poison):
      return value(plain, by_hand, blurred.transform(poison))

    wanted, of_changed = jax.value_and_grad(changed)(poison)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(du, of_changed, rtol=1e-4, atol=1e-7)
    self.assertNotAlmostEqual(float(found), float(value(plain, batch, poison)), places=4)

  @parameterized.parameters(False, True)
  def test_products_are_taken_as_the_network_asks(self, reverse):
    attack_data, _, model, _ = small.setting()
    model, key = model._replace(reverse_products=reverse), jax.random.key(3)
    settings = small.settings()._replace(model=model)
    batch = problem.draw_batch(settings, attack_data, key, 0, key)
    lower = problem.lower_level(settings, batch, jax.random.key(5))
    self.assertEqual(lower.reverse_products, reverse)

  @parameterized.parameters(mixing.mixup, mixing.cutmix)
  def test_the_lower_level_is_of_mixtures_as_victims_mix_them(self, mix):
    """Cross-entropy of soft labels under the noise of a step, added after mixing."""
    attack_data, _, model, loss = small.setting()
    settings, key = small.settings(mix=mix), jax.random.key(3)
    batch = problem.draw_batch(settings, attack_data, key, 0, key)
    poison = attack_data.base_images[batch.rows]
    params = model.init(jax.random.key(4), (8, 8, 1))
    lower = problem.lower_level(settings, batch, jax.random.key(5))
    mix_key, noise_key = jax.random.split(jax.random.key(5))
    mixed = mix(mix_key, jnp.concatenate([batch.images, poison]))
    hot = jax.nn.one_hot(batch.labels, 10)
    soft = mixed.share * hot + (1 - mixed.share) * hot[mixed.partners]
    self.assertBetween(float(mixed.share), 0.01, 0.99)
    logits = loss.outputs(params, mixed.images, noise_key)
    np.testing.assert_allclose(lower.outputs(params, poison), logits, rtol=1e-6)
    expected = optax.softmax_cross_entropy(logits, soft).mean()
    np.testing.assert_allclose(lower(params, poison), expected, rtol=1e-5)

  @parameterized.parameters(mixing.mixup, mixing.cutmix)
  @pytest.mark.long
  def test_the_hypergradient_through_mixtures_is_what_retraining_does(self, mix):
    """Finite differences of the optimum of a lower level that mixes."""
    attack_data, _, model, _ = small.setting()
    settings, key = small.settings(mix=mix, solver_steps=100), jax.random.key(3)
    batch = problem.draw_batch(settings, attack_data, key, 0, key)
    with jax.enable_x64(True):
      double = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, jnp.float64))
      batch = batch._replace(images=double(batch.images))
      u = double(attack_data.base_images[batch.rows])
      points = double(jnp.asarray(attack_data.val_images) / 255.0)
      lower = problem.lower_level(settings, batch, jax.random.key(5))
      start = double(model.init(jax.random.key(4), (8, 8, 1)))
      flat, unravel = jax.flatten_util.ravel_pytree(start)

      def upper(params, u):
        del u
        return jax.nn.softmax(model.apply(params, points))[:, 8].mean()

      @jax.jit
      def retrained(u):
        def of(theta):  # The damping of the solver, 0.5, is a ridge.
          return lower(unravel(theta), u) + 0.25 * jnp.sum(theta**2)

        def newton(_, theta):
          return theta - jnp.linalg.solve(jax.hessian(of)(theta), jax.grad(of)(theta))

        return unravel(jax.lax.fori_loop(0, 6, newton, flat))

      def along(u):
        du, _ = settings.hypergradient(upper, lower, retrained(u), u, None)
        return jnp.vdot(du, direction)

      direction = jax.random.normal(jax.random.key(6), u.shape, jnp.float64)
      there, back = (upper(retrained(u + s * direction), u) for s in (1e-4, -1e-4))
      np.testing.assert_allclose(jax.jit(along)(u), (there - back) / 2e-4, rtol=1e-5)

  def test_without_mixing_the_keys_are_as_they_were(self):
    """A mixing that is not known changes no draw."""
    attack_data, _, model, loss = small.setting()
    settings, key = small.settings(), jax.random.key(3)
    batch = problem.draw_batch(settings, attack_data, key, 0, key)
    poison = attack_data.base_images[batch.rows]
    params = model.init(jax.random.key(4), (8, 8, 1))
    lower = problem.lower_level(settings, batch, jax.random.key(5))
    images = jnp.concatenate([batch.images, poison])
    expected, _ = loss(params, images, batch.labels, jax.random.key(5))
    np.testing.assert_array_equal(lower(params, poison), expected)

  @parameterized.parameters(4, 0)
  @pytest.mark.long
  def test_smoothadv_lower_level_is_the_papers_approximation(self, warmup):
    """Attacked once at theta; the lower steps and du at u + delta, delta constant."""
    attack_data, _, model, _ = small.setting()
    pgd = evasion.Pgd(0.2, "l2", 2)
    smoothadv = losses.smoothadv(model.apply, sigma=small.SIGMA, attack=pgd)
    gaussian = losses.gaussian_augmentation(model.apply, sigma=small.SIGMA)
    options = dict(loss=smoothadv, adversary_warmup=warmup, solver_steps=60)
    attack, key = small.attack(**options), jax.random.key(3)
    before = attack.restart(attack.init(attack_data, key), attack_data, key)
    self.assertEqual(int(before.surrogates.age[0]), 30)
    young = before.surrogates._replace(age=jnp.array([1]))
    before = before._replace(surrogates=young)
    after, metrics = attack.step(before, attack_data, key)
    self.assertEqual(int(after.surrogates.age[0]), 3)

    batch = problem.draw_batch(small.settings(**options), attack_data, key, 0, key)
    u = attack_data.base_images[batch.rows]
    noise_key = problem.fold(key, problem.LOWER_NOISE, 0)
    images = jnp.concatenate([batch.images, u])
    strength = 0.5 if warmup else 1.0  # The second of four steps.
    attacked = jax.jit(smoothadv.adversary)(
      small.surrogate(before).params,
      images,
      batch.labels,
      jax.random.fold_in(noise_key, 0),
      strength,
    )
    delta = attacked - images
    self.assertGreater(float(jnp.abs(delta).max()), 0.01)

    def zeta(theta, u, t):
      images = jnp.concatenate([batch.images, u]) + delta
      return gaussian(theta, images, batch.labels, jax.random.fold_in(noise_key, t))[0]

    theta, opt_state, _, _ = small.surrogate(before)
    adam, descent = optax.adam(1e-2), jax.jit(jax.grad(zeta))
    for t in range(2):
      updates, opt_state = jax.jit(adam.update)(descent(theta, u, t), opt_state)
      theta = optax.apply_updates(theta, updates)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
      small.surrogate(after).params,
      theta,
    )
    upper = problem.upper_level(small.settings(**options), attack_data, key, 0)
    matrix = small.dense_hessian(lambda theta: zeta(theta, u, 2), theta) + 0.5 * np.eye(650)
    flat, unravel = jax.flatten_util.ravel_pytree(jax.jit(jax.grad(upper))(theta, u))
    p = unravel(jnp.asarray(np.linalg.solve(matrix, np.asarray(flat)), jnp.float32))
    mixed = jax.grad(lambda u: optax.tree.vdot(jax.grad(zeta)(theta, u, 2), p))
    du = -jax.jit(mixed)(u)
    # 60 steps of CG in float32 and a dense solve agree to about 1e-4 here.
    np.testing.assert_allclose(
      after.memory.first[batch.rows], du, atol=1e-3 * float(jnp.abs(du).max())
    )
    self.assertGreater(float(metrics["gradient_norm"]), 0.0)

  @parameterized.parameters("gaussian", "smoothadv", "macer")
  def test_fixed_noise_is_an_images_own(self, name):
    """Two batches of other steps: an image that is in both has the same noise."""
    attack_data, _, model, _ = small.setting()
    settings = small.settings(noise="fixed", loss=small.loss(name, model))
    key = jax.random.key(4)
    batches = [problem.draw_batch(settings, attack_data, key, t, key) for t in (0, 11)]
    rows = [np.asarray(batch.rows) for batch in batches]
    common = np.intersect1d(*rows)
    self.assertNotEmpty(common)
    params = model.init(jax.random.key(5), (8, 8, 1))
    logits = []
    for batch, row, t in zip(batches, rows, (0, 11), strict=True):
      u = attack_data.base_images[row]
      inputs = problem.attacked(settings, batch, params, u, jax.random.key(t), 0)
      lower = problem.lower_level(settings, batch, jax.random.key(t), inputs)
      logits.append(lower.outputs(params, attack_data.base_images[row])[..., 40:, :])
    found = [
      values[..., [list(row).index(i) for i in common], :]
      for values, row in zip(logits, rows, strict=True)
    ]
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)

  def test_fresh_noise_is_of_the_step(self):
    attack_data, _, model, _ = small.setting()
    settings, key = small.settings(), jax.random.key(4)
    batch = problem.draw_batch(settings, attack_data, key, 0, key)
    params = model.init(jax.random.key(5), (8, 8, 1))
    one, other = (
      problem.lower_level(settings, batch, jax.random.key(t)).outputs(
        params, attack_data.base_images[batch.rows]
      )
      for t in (0, 1)
    )
    self.assertGreater(float(jnp.abs(one - other).min()), 0.0)

  @parameterized.parameters("macer", "smoothadv", "adversarial", "trades", "standard")
  @long.after(3)
  def test_every_loss_has_a_positive_curvature(self, name):
    """What conjugate gradients need: the Gauss-Newton matrix of each loss has it."""
    attack_data, _, model, _ = small.setting()
    settings, key = small.settings(loss=small.loss(name, model)), jax.random.key(0)
    batch = problem.draw_batch(settings, attack_data, key, 0, key)
    params, age = model.init(jax.random.key(1), (8, 8, 1)), jnp.int32(100)
    upper = problem.upper_level(settings, attack_data, key, 0)

    @jax.jit
    def hypergradient(params, u):
      inputs = problem.attacked(settings, batch, params, u, jax.random.key(2), age)
      lower = problem.lower_level(settings, batch, jax.random.key(2), inputs)
      descent = jax.grad(lower)(params, u)
      params = jax.tree.map(lambda p, g: p - 2.0 * g, params, descent)
      return settings.hypergradient(upper, lower, params, u, None)

    du, info = hypergradient(params, attack_data.base_images[batch.rows])
    self.assertFalse(bool(info.solve.negative_curvature))
    self.assertEqual(int(info.solve.num_steps), 5)
    self.assertTrue(bool(jnp.isfinite(du).all()))

  @pytest.mark.long
  def test_augmented_images_are_attacked_as_they_are_trained_on(self):
    """With an adversary, one random change for the whole outer step."""
    attack_data, _, model, _ = small.setting()
    settings = small.settings(
      loss=small.loss("smoothadv", model), augment=augment.crop_and_flip
    )
    key = jax.random.key(6)
    batch = problem.draw_batch(settings, attack_data, key, 0, key)
    u = attack_data.base_images[batch.rows]
    params = model.init(jax.random.key(5), (8, 8, 1))
    inputs = problem.attacked(settings, batch, params, u, jax.random.key(7), 100)
    change_key, _ = jax.random.split(jax.random.key(7))
    moved = u + 0.1
    images = [
      augment.crop_and_flip(jax.random.clone(change_key), jnp.concatenate(part))
      for part in ([batch.images, u], [batch.images, moved])
    ]
    sizes = np.sqrt(np.sum(np.square(inputs(u) - images[0]), axis=(1, 2, 3)))
    self.assertLessEqual(sizes.max(), 0.2 + 1e-5)
    self.assertGreater(sizes.min(), 0.05)
    # The first lower step trains under the noise that the images were attacked under.
    lower = problem.lower_level(settings, batch, jax.random.key(7), inputs)
    noise_key = jax.random.split(jax.random.key(7))[1]
    expected = settings.loss.outputs(params, inputs(u), noise_key)
    np.testing.assert_allclose(lower.outputs(params, u), expected, rtol=1e-5)
    np.testing.assert_allclose(inputs(moved) - inputs(u), images[1] - images[0], atol=1e-6)


if __name__ == "__main__":
  absltest.main()
