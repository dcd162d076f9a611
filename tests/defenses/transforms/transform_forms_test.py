"""Every transform in its two forms: types, shapes, images alone, derivatives, words."""

import functools

import jax
import jax.numpy as jnp
import long
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.data import training_sets
from pacd_jax.defenses.transforms import (
  bit_depth,
  blur,
  denoise,
  forms,
  grayscale,
  jpeg,
)
from pacd_jax.experiment import kinds

_DENOISER = denoise.Settings(num_layers=2, width=4, num_steps=3)
_NAMES = ("jpeg", "grayscale", "bit_depth", "blur", "denoise")


def _images(channels, num_images=6):
  generator = np.random.default_rng(channels)
  shape = num_images, 9, 11, channels
  return generator.integers(0, 256, shape).astype(np.uint8)


def _transform(name, channels):
  if name == "denoise":
    params = denoise.train(_images(channels), jax.random.key(3), _DENOISER)
    return functools.partial(denoise.denoise, params=params, settings=_DENOISER)
  return {
    "jpeg": functools.partial(jpeg.jpeg, quality=10),
    "grayscale": grayscale.grayscale,
    "bit_depth": functools.partial(bit_depth.bit_depth, bits=2),
    "blur": functools.partial(blur.blur, sigma=1.0),
  }[name]


def _defence(name):
  options = kinds.DEFENCES[name].options
  if name == "denoise":
    return denoise.of_training_set(_DENOISER)
  return kinds.DEFENCES[name].make(options() if options else None)


class FormsTest(parameterized.TestCase):
  @parameterized.product(name=_NAMES, channels=(1, 3))
  @long.after(4)
  def test_training_images_stay_uint8_and_absent_ones_as_they_are(self, name, channels):
    images = _images(channels)
    before = types.TrainingSet(images, np.arange(6, dtype=np.int32), np.arange(0, 6, 2))
    copy = images.copy()
    tools = types.Tools(None, None, types.Dataset(images, np.zeros(6, np.int32)), 6)

    def defended():
      return _defence(name)(before, jax.random.key(0), tools)

    after, report = defended()
    self.assertEqual((after.images.dtype, after.images.shape), (np.uint8, images.shape))
    np.testing.assert_array_equal(before.images, copy)
    np.testing.assert_array_equal(after.images[1::2], images[1::2])
    difference = training_sets.difference(before, after)
    np.testing.assert_array_equal(report.changed, difference.changed)
    self.assertEqual(len(report.changed), 0 if (name, channels) == ("grayscale", 1) else 3)
    self.assertEqual((len(report.removed), len(report.relabelled)), (0, 0))
    np.testing.assert_array_equal(defended()[0].images, after.images)

  @parameterized.product(name=_NAMES, channels=(1, 3))
  @long.after(4)
  def test_an_image_alone_gives_the_same(self, name, channels):
    images = _images(channels) / np.float32(255.0)
    images += 0.2 * np.random.default_rng(0).standard_normal(images.shape, np.float32)
    transform = jax.jit(_transform(name, channels))
    together = transform(images)
    self.assertEqual(together.dtype, jnp.float32)
    alone = np.concatenate([transform(images[i : i + 1]) for i in range(len(images))])
    np.testing.assert_allclose(together, alone, atol=1e-6)

  @parameterized.parameters("jpeg", "bit_depth")
  def test_the_derivative_passes_straight_through(self, name):
    images = jnp.asarray(_images(1, 2) / np.float32(255.0))  # 0 and 1 among them.
    weights = jax.random.normal(jax.random.key(0), images.shape)
    transform = _transform(name, 1)
    gradient = jax.grad(lambda x: jnp.sum(weights * transform(x)))(images)
    np.testing.assert_allclose(gradient, weights, rtol=1e-6)
    outside = jax.grad(lambda x: jnp.sum(transform(x)))(images + 1.01)
    np.testing.assert_array_equal(outside, np.zeros_like(outside))

  def test_the_derivative_of_a_colour_jpeg_is_that_of_its_smooth_part(self):
    """Luma passes as it is; chroma is the mean of 2x2 pixels."""
    images = jnp.asarray(_images(3, 1) / np.float32(255.0))
    tangent = jnp.zeros_like(images).at[0, 2, 2].set(1.0)
    transform = jax.jit(_transform("jpeg", 3))
    _, grey = jax.jvp(transform, (images,), (tangent,))
    np.testing.assert_allclose(grey, tangent, atol=1e-6)
    red = tangent.at[..., 1:].set(0.0)
    _, pushed = jax.jvp(transform, (images,), (red,))
    luma = jnp.sum(pushed[0] * jnp.array([[[0.299, 0.587, 0.114]]]), axis=-1)
    np.testing.assert_allclose(luma, 0.299 * red[0, ..., 0], atol=1e-6)
    chroma = (pushed[0, ..., 0] - luma)[2:4, 2:4]
    np.testing.assert_allclose(chroma, np.full((2, 2), 0.701 / 4), rtol=1e-5)

  def test_the_classifier_after_transforms(self):
    model = types.Model(
      lambda key, shape: jnp.float32(2.0),
      lambda params, images: params * images.mean(axis=(1, 2)),
      lambda params, images: images.reshape(len(images), -1),
    )
    self.assertIs(forms.before(model, ()), model)
    images = jnp.asarray(_images(3) / np.float32(255.0))
    chain = [_transform("blur", 3), _transform("bit_depth", 3)]
    inside = forms.before(model, chain)
    by_hand = chain[1](chain[0](images))
    np.testing.assert_allclose(inside.apply(2.0, images), model.apply(2.0, by_hand))
    found = inside.features(2.0, images)
    np.testing.assert_allclose(found, model.features(2.0, by_hand))
    rounded = inside.apply(jnp.bfloat16(2.0), images.astype(jnp.bfloat16))
    self.assertEqual(rounded.dtype, jnp.bfloat16)
    featureless = forms.before(model._replace(features=None), chain)
    self.assertIsNone(featureless.features)


if __name__ == "__main__":
  absltest.main()
