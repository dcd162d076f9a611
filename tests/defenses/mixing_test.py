"""mixup and CutMix against their definitions, and victims that train on mixtures."""

import jax
import jax.numpy as jnp
import long
import numpy as np
import optax
import pytest
from absl.testing import absltest, parameterized
from small_training import assert_close, make, of_victim, run

from pacd_jax import losses, train, types
from pacd_jax.data import training_sets
from pacd_jax.defenses import mixing

_IMAGES = np.random.default_rng(0).uniform(size=(12, 7, 6, 2)).astype(np.float32)


def _draws(mix, num=60, **options):
  """Many mixtures of the same images."""
  keys = jax.random.split(jax.random.key(0), num)
  draw = jax.vmap(lambda key: mix(key, jnp.asarray(_IMAGES), **options))
  drawn = jax.tree.map(np.asarray, jax.jit(draw)(keys))
  return [jax.tree.map(lambda leaf, i=i: leaf[i], drawn) for i in range(num)]


class MixingTest(parameterized.TestCase):
  @parameterized.parameters(mixing.mixup, mixing.cutmix)
  def test_partners_are_a_permutation_and_shares_are_of_0_to_1(self, mix):
    shares = []
    for mixed in _draws(mix, probability=1.0):
      np.testing.assert_array_equal(np.sort(mixed.partners), np.arange(12))
      self.assertEqual(mixed.images.shape, _IMAGES.shape)
      shares.append(float(mixed.share))
    self.assertBetween(min(shares), 0.0, 0.5)
    self.assertBetween(max(shares), 0.8, 1.0)

  @parameterized.parameters(mixing.mixup, mixing.cutmix)
  def test_a_batch_that_is_not_mixed_is_as_it_was(self, mix):
    """To the bit, its share is 1, and so often as the probability says."""
    num_mixed = 0
    for mixed in _draws(mix, 200, probability=0.25):
      num_mixed += mixed.share < 1.0
      if mixed.share == 1.0:
        np.testing.assert_array_equal(mixed.images, _IMAGES)
    self.assertBetween(num_mixed, 25, 75)  # Four standard deviations of 50.

  def test_mixup_is_convex(self):
    for mixed in _draws(mixing.mixup):
      expected = mixed.share * _IMAGES + (1 - mixed.share) * _IMAGES[mixed.partners]
      np.testing.assert_allclose(mixed.images, expected, rtol=1e-5)

  @pytest.mark.long
  def test_its_weight_is_of_the_beta_distribution(self):
    """Beta(a, a) has the variance 1 / (4 (2 a + 1))."""
    for alpha in (0.3, 2.0):
      shares = [float(mixed.share) for mixed in _draws(mixing.mixup, 500, alpha=alpha)]
      self.assertAlmostEqual(np.mean(shares), 0.5, delta=0.08)
      self.assertAlmostEqual(np.var(shares) * 4 * (2 * alpha + 1), 1.0, delta=0.2)

  def test_the_share_of_cutmix_is_that_of_the_pixels_which_are_left(self):
    """The box is one rectangle, and of the same place in all images."""
    areas = set()
    for mixed in _draws(mixing.cutmix, 200, probability=1.0):
      moved = mixed.partners != np.arange(12)
      is_cut = (mixed.images != _IMAGES).any(axis=-1)[moved]
      np.testing.assert_array_equal(is_cut, is_cut[:1].repeat(len(is_cut), axis=0))
      partners = _IMAGES[mixed.partners][moved]
      np.testing.assert_array_equal(mixed.images[moved][is_cut], partners[is_cut])
      area = int(is_cut[0].sum())
      self.assertEqual(mixed.share, np.float32(1.0 - np.float32(area) / np.float32(42)))
      if area:
        rows, columns = (np.flatnonzero(is_cut[0].any(axis=axis)) for axis in (1, 0))
        self.assertEqual(area, (np.ptp(rows) + 1) * (np.ptp(columns) + 1))
      areas.add(area)
    self.assertGreater(len(areas), 10)


def _fixed_share(share):
  def mix(key, images):
    del key
    return types.Mixed(
      share * images + (1 - share) * images[::-1],
      jnp.arange(len(images))[::-1],
      jnp.float32(share),
    )

  return mix


class TrainTest(parameterized.TestCase):
  @pytest.mark.long
  def test_a_share_of_1_trains_as_without_mixing(self):
    """With an image's own noise, since mixing takes a key of each step."""
    keys = train.victim_keys(jax.random.key(0), 2)
    expected = run(make(noise_choice="fixed")[1], keys, 2)
    found = run(make(noise_choice="fixed", mix=_fixed_share(1.0))[1], keys, 2)
    assert_close(found, expected)

  @parameterized.parameters(0.25, 0.0, 0.5)
  @long.after(1)
  def test_a_step_is_on_the_cross_entropy_of_soft_labels(self, share):
    """lam CE(., a) + (1 - lam) CE(., b) = CE(., lam a + (1 - lam) b), labels of mass 1."""
    images = np.random.default_rng(1).integers(0, 256, (8, 2, 2, 1), np.uint8)
    labels = np.array([0, 0, 1, 0, 1, 1, 0, 0], np.int32)
    seen = {}

    def mix(key, images):
      mixed = _fixed_share(share)(key, images)
      jax.debug.callback(lambda x: seen.update(images=np.asarray(x)), images)
      return mixed

    model, _ = make()
    loss = losses.standard(model.apply)
    sgd = dict(optimizer_of=lambda num_steps: optax.sgd(0.5), batch_size=8)
    trainer = make(loss=loss, mix=mix, **sgd)[1]
    keys = train.victim_keys(jax.random.key(0), 1)
    before = trainer.init(keys)
    params = of_victim(before.params, 0)
    sets = [training_sets.whole(types.Dataset(images, labels))]
    after, metrics = run(trainer, keys, 1, sets=sets, state=before)
    jax.effects_barrier()
    batch = seen["images"].reshape(8, 2, 2, 1)
    places = [np.flatnonzero((images == x).all((1, 2, 3)))[0] for x in np.rint(255 * batch)]
    hot = np.eye(2)[labels[places]]
    soft = share * hot + (1 - share) * hot[::-1]
    np.testing.assert_allclose(soft.sum(axis=1), 1.0)

    def expected(params):
      logits = model.apply(params, share * batch + (1 - share) * batch[::-1])
      return optax.softmax_cross_entropy(logits, soft).mean()

    value, gradient = jax.value_and_grad(expected)(params)
    np.testing.assert_allclose(metrics["loss"][0], value, rtol=1e-5)
    stepped = jax.tree.map(lambda leaf, g: leaf - 0.5 * g, params, gradient)
    assert_close(of_victim(after.params, 0), stepped)

  def test_noise_is_added_after_mixing(self):
    """Its standard deviation is sigma, not sigma sqrt(lam^2 + (1 - lam)^2)."""
    sigma = 0.3

    def of_noisy(params, noisy):
      del params
      return noisy.reshape(len(noisy), -1)  # The images are black.

    def spread(logits, labels):
      del labels
      return jnp.mean(logits**2), {"accuracy": jnp.float32(0)}

    loss = losses.gaussian_augmentation(of_noisy, sigma=sigma)._replace(criterion=spread)
    black = types.Dataset(np.zeros((64, 2, 2, 1), np.uint8), np.zeros(64, np.int32))
    options = dict(loss=loss, batch_size=64, image_shape=(2, 2, 1))
    trainer = make(mix=_fixed_share(0.5), **options)[1]
    keys = train.victim_keys(jax.random.key(0), 20)
    _, metrics = run(trainer, keys, 1, sets=[training_sets.whole(black)])
    found = float(metrics["loss"].mean()) / sigma**2  # Of 5120 squares.
    self.assertAlmostEqual(found, 1.0, delta=4 * np.sqrt(2 / 5120))


if __name__ == "__main__":
  absltest.main()
