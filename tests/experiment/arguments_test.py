"""Mistaken arguments of public functions: one `InputError` each, never one from below."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

import pacd_jax

_IMAGES = np.random.default_rng(0).random((4, 8, 8, 1)).astype(np.float32)
_ARRAYS = (np.zeros((300, 8, 8, 1), np.uint8), np.arange(300) % 3)


def _apply(params, images):
  del params
  brightness = images.sum(axis=(1, 2, 3))
  return jnp.stack([brightness, -brightness], axis=1)


def _certify(images=_IMAGES, key=None, **options):
  usual = dict(sigma=0.25, n0=10, n=100, alpha=0.001)
  key = jax.random.key(0) if key is None else key
  return pacd_jax.certify(_apply, {}, images, key, **(usual | options))


class ArgumentsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("images_list", dict(images=_IMAGES.tolist()), "of type list: give an array"),
    ("images_uint8", dict(images=_IMAGES.astype(np.uint8)), "images are uint8"),
    ("images_of_one", dict(images=_IMAGES[0]), "of shape"),
    ("images_nan", dict(images=_IMAGES * np.nan), "not finite"),
    ("images_range", dict(images=_IMAGES * 255.0), "scale them to"),
    ("n_float", dict(n=100.0), "n=100.0: give a whole number"),
    ("n0_float", dict(n0=10.5), "n0=10.5: give a whole number"),
    ("n_text", dict(n="100"), "n='100': give a whole number"),
    ("n_bool", dict(n=True), "n=True: give a whole number"),
    ("batch_float", dict(batch_size=10.0), "batch_size=10.0: give a whole number"),
    ("batch_none", dict(batch_size=0), "batch_size=0: use 1 to"),
    ("sigma_text", dict(sigma="0.25"), "sigma='0.25': give a finite number"),
    ("sigma_infinite", dict(sigma=float("inf")), "sigma=inf: give a finite number"),
    ("alpha_nan", dict(alpha=float("nan")), "alpha=nan: give a finite number"),
    ("alpha_one", dict(alpha=1.0), "alpha=1.0 is out of range"),
    ("mode", dict(mode="some"), "mode 'some': use one of"),
    ("labels_one_hot", dict(labels=np.eye(2)[[0, 1, 0, 1]]), "labels.argmax"),
    ("labels_float", dict(labels=[0.0, 1.0, 0.0, 1.0]), "labels are float64"),
    ("labels_few", dict(labels=[0]), "4 images but 1 labels"),
    ("labels_high", dict(labels=[0, 1, 2, 0]), "give labels in 0..1"),
    ("key_number", dict(key=0), "no typed PRNG key"),
    ("key_old", dict(key=jax.random.PRNGKey(0)), "no typed PRNG key"),
  )
  def test_certify(self, options, message):
    with self.assertRaisesRegex(pacd_jax.InputError, message):
      _certify(**options)

  def test_certify_takes_lists_and_numbers_of_numpy(self):
    expected = _certify(labels=[0, 1, 0, 1], mode="adaptive")
    numbers = dict(n=np.int64(100), n0=np.int32(10), sigma=np.float32(0.25))
    found = _certify(labels=np.array([0, 1, 0, 1]), mode="adaptive", **numbers)
    np.testing.assert_array_equal(found[0], expected[0])

  @parameterized.named_parameters(
    ("lists", ([[[0]]], [0]), {}, "not uint8"),
    ("one_hot", (_ARRAYS[0], np.eye(3)[_ARRAYS[1]]), {}, "one integer for each image"),
    ("float_images", (_ARRAYS[0] / 255.0, _ARRAYS[1]), {}, "not uint8"),
    ("seed", _ARRAYS, {"seed": 1.5}, "seed is 1.5: give a whole number"),
    ("no_test_labels", (*_ARRAYS, _ARRAYS[0]), {}, "test_images but no test_labels"),
  )
  def test_split_arrays(self, arrays, options, message):
    with self.assertRaisesRegex(pacd_jax.InputError, message):
      pacd_jax.split_arrays(*arrays, **options)

  @parameterized.named_parameters(
    ("name", (3,), "name is 3: give a text"),
    ("variant", ("digits_ga", 3), "variant is 3: give a text"),
    ("changes", ("digits_ga", "", [1]), "changes is list: give a dictionary"),
    ("value", ("digits_ga", "", {"sigma": "high"}), "sigma is 'high'"),
    ("unknown", ("digits",), "no config 'digits'"),
  )
  def test_make_config(self, arguments, message):
    with self.assertRaisesRegex(pacd_jax.InputError, message):
      pacd_jax.make_config(*arguments)

  @parameterized.named_parameters(
    ("classes", dict(num_classes=3.0), "num_classes is 3.0: give a whole number"),
    ("shape", dict(image_shape=(8, 8)), r"image_shape is \(8, 8\): give \(H, W, C\)"),
    ("name", dict(name="net"), "not a known model"),
  )
  def test_make_network(self, options, message):
    usual = dict(name="mlp", num_classes=3, image_shape=(8, 8, 1))
    with self.assertRaisesRegex(pacd_jax.InputError, message):
      pacd_jax.make_network(**(usual | options))

  def test_load_run(self):
    with self.assertRaisesRegex(pacd_jax.InputError, "3 is no path"):
      pacd_jax.load_run(3)


if __name__ == "__main__":
  absltest.main()
