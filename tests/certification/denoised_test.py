"""Denoised smoothing: no denoiser, Wiener's, and a loss that leaves classifiers alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl.testing import absltest
from small_training import run

from pacd_jax import errors, noise, train, types
from pacd_jax.certification import certify, denoised
from pacd_jax.data import training_sets
from pacd_jax.experiment.entries import networks
from pacd_jax.models import denoiser

_SHAPE = (2, 2, 1)
_SIGMA = 0.25


def _parts(num_layers=1):
  """A linear classifier of three classes, a denoiser, and the one behind the other."""
  model = networks.make("linear", num_classes=3, image_shape=_SHAPE)
  network = denoiser.denoiser(num_layers=num_layers, width=3)
  behind = denoised.behind(model, network)
  return model, network, behind, behind.init(jax.random.key(0), _SHAPE)


def _images(num=6, shape=_SHAPE):
  return np.random.default_rng(0).uniform(size=(num, *shape)).astype(np.float32)


class BehindTest(absltest.TestCase):
  def test_an_untrained_denoiser_leaves_every_vote_as_it_is(self):
    model, _, behind, params = _parts()
    settings = dict(sigma=_SIGMA, n0=20, n=300, alpha=0.01, batch_size=160)
    found, wanted = (
      certify.certify(apply, own, _images(), jax.random.key(1), **settings)
      for apply, own in ((behind.apply, params), (model.apply, params.classifier))
    )
    for one, other in zip(found, wanted, strict=True):
      np.testing.assert_array_equal(one, other)
    self.assertGreater(len(set(found[1])), 3)  # Radii differ.

  @pytest.mark.long
  def test_a_trained_one_is_before_the_classifier_and_its_features(self):
    _, network, _, params = _parts()
    model = networks.make("mlp", num_classes=3, image_shape=_SHAPE)
    behind = denoised.behind(model, network)
    classifier = model.init(jax.random.key(1), _SHAPE)
    changed = jax.tree.map(lambda leaf: leaf + 0.1, params.denoiser)
    given, images = denoised.Params(classifier, changed), _images()
    clean = network.apply(changed, images)
    self.assertGreater(np.abs(clean - images).max(), 0.1)
    np.testing.assert_array_equal(
      behind.apply(given, images), model.apply(classifier, clean)
    )
    np.testing.assert_array_equal(
      behind.features(given, images), model.features(classifier, clean)
    )

  def test_a_denoiser_of_other_images_is_refused(self):
    model, network, behind, params = _parts()
    of_colours = params._replace(denoiser=network.init(jax.random.key(0), (2, 2, 3)))
    with self.assertRaisesRegex(errors.InputError, "of 3 channels, and these have 1"):
      behind.apply(of_colours, _images())
    smaller = network._replace(apply=lambda params, images: images[:, :1])
    with self.assertRaisesRegex(errors.InputError, r"\[6, 1, 2, 1\] of \[6, 2, 2, 1\]"):
      denoised.behind(model, smaller).apply(params, _images())


class MseTest(absltest.TestCase):
  def test_a_linear_denoiser_of_gaussian_pixels_becomes_wieners(self):
    """D(z) = m + (z - m) s^2 / (s^2 + sigma^2), whose error is sigma^2 times that gain."""
    rng = np.random.default_rng(0)
    pixels = np.clip(rng.normal(0.4, 0.15, (640, 1, 1, 1)), 0.0, 1.0)
    images = np.rint(255 * pixels).astype(np.uint8)
    network = denoiser.denoiser(num_layers=1, width=1)

    def init(key, image_shape):
      return denoised.InTraining((), network.init(key, image_shape))

    trainer = train.make(
      types.Model(init, network.apply),
      denoised.mse(network.apply, sigma=_SIGMA),
      lambda num_steps: optax.adam(train.cosine(0.03, num_steps)),
      image_shape=(1, 1, 1),
      num_epochs=60,
      batch_size=64,
      logged=("noise_left",),
    )
    sets = [training_sets.whole(types.Dataset(images, np.zeros(640, np.int32)))]
    keys = train.victim_keys(jax.random.key(0), 2)
    state, metrics = run(trainer, keys, 60, sets=sets)
    mean, variance = images.mean() / 255, images.var() / 255**2
    gain = variance / (variance + _SIGMA**2)
    own = state.params.denoiser
    found = 1.0 - own["kernel_0"][:, 1, 1, 0, 0]  # Of each of two seeds.
    np.testing.assert_allclose(found, gain, atol=0.02)
    constant = -own["bias_0"][:, 0]
    np.testing.assert_allclose(constant, mean * (1.0 - gain), atol=0.01)
    np.testing.assert_allclose(metrics["noise_left"], gain, atol=0.03)
    self.assertLess(metrics["loss"].max(), 0.5 * _SIGMA**2)

  def test_a_denoiser_that_does_nothing_leaves_all_of_the_noise(self):
    _, network, _, params = _parts()
    loss = denoised.mse(network.apply, sigma=_SIGMA)
    images = np.zeros((2000, *_SHAPE), np.float32)
    untrained = denoised.InTraining((), params.denoiser)
    value, found = loss(untrained, images, np.zeros(2000), jax.random.key(1))
    self.assertAlmostEqual(float(found["noise_left"]), 1.0, delta=0.03)
    self.assertAlmostEqual(float(value), _SIGMA**2, delta=0.003)


class StabilityTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.model, self.network, _, params = _parts()
    keys = jax.random.split(jax.random.key(5), 2)
    teachers = jax.vmap(lambda key: self.model.init(key, _SHAPE))(keys)
    own = jax.tree.map(lambda leaf: leaf + 0.1, params.denoiser)
    self.params = denoised.InTraining(teachers, own)
    self.loss = denoised.stability(self.network.apply, self.model.apply, sigma=_SIGMA)
    self.given = _images(), np.zeros(6, np.int32), jax.random.key(2)

  @pytest.mark.long
  def test_it_is_the_mean_cross_entropy_to_each_classifiers_own_class(self):
    images, _, key = self.given
    value, found = self.loss(self.params, *self.given)
    eta = noise.draw(jax.random.clone(key), 1, jnp.asarray(images))[0]
    clean = self.network.apply(self.params.denoiser, images + _SIGMA * eta)
    losses, agree = [], []
    for number in range(2):
      teacher = jax.tree.map(lambda leaf, m=number: leaf[m], self.params.teachers)
      classes = self.model.apply(teacher, images).argmax(axis=-1)
      logits = self.model.apply(teacher, clean)
      losses.append(-jax.nn.log_softmax(logits)[np.arange(6), classes])
      agree.append(logits.argmax(axis=-1) == classes)
    self.assertAlmostEqual(float(value), float(np.mean(losses)), places=5)
    self.assertAlmostEqual(float(found["agreement"]), float(np.mean(agree)), places=6)
    left = np.mean((clean - images) ** 2) / _SIGMA**2
    self.assertAlmostEqual(float(found["noise_left"]), float(left), places=4)

  @pytest.mark.long
  def test_its_gradient_reaches_the_denoiser_alone(self):
    gradient, _ = jax.grad(self.loss, has_aux=True)(self.params, *self.given)
    for leaf in jax.tree.leaves(gradient.teachers):
      np.testing.assert_array_equal(leaf, 0.0)
    self.assertGreater(optax.tree.norm(gradient.denoiser), 1e-3)

  @pytest.mark.long
  def test_its_gradient_is_that_of_finite_differences(self):
    def of(kernel):
      own = self.params.denoiser | {"kernel_0": kernel}
      given = self.given[0], self.given[1], jax.random.clone(self.given[2])
      return self.loss(self.params._replace(denoiser=own), *given)[0]

    jax.test_util.check_grads(
      jax.jit(of), (self.params.denoiser["kernel_0"],), 1, modes=["rev"], rtol=2e-2
    )


if __name__ == "__main__":
  absltest.main()
