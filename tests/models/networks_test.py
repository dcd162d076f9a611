"""Models: contract, size, and the convolution that this backend takes against lax.conv."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import long
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import kinds
from pacd_jax.experiment.entries import networks
from pacd_jax.models import modules


def _count(params):
  return sum(leaf.size for leaf in jax.tree.leaves(params))


class ModelsTest(parameterized.TestCase):
  @parameterized.parameters(
    ("linear", (8, 8, 1), 650),
    ("mlp", (8, 8, 1), 26_122),
    ("small_cnn", (8, 8, 1), 13_706),
    ("mnist_cnn", (28, 28, 1), 431_080),
    ("resnet20", (8, 8, 3), 273_066),  # As Keras's, without the moving statistics.
    ("wide_cnn", (12, 12, 1), 1_397_514),
    ("vgg", (16, 16, 3), 420_906),
    # 3x3x12x64 + 64, 3x3x64x128 + 128, 3x3x128x256 + 256; 2x2x256 x 256 + 256; 2570.
    ("patch_cnn", (32, 32, 3), 640_970),
    # 4x4x1x16 + 16, 4x4x16x32 + 32; 10x10x32 x 100 + 100; 1010.
    ("ibp_cnn", (28, 28, 1), 329_606),
    # 224 + 16, 2 (584 + 16), 1168 + 2320 + 144 + 64, 4640 + 9248 + 544 + 128, 330.
    ("thin_resnet8", (8, 8, 3), 20_026),
    ("resnet32", (8, 8, 3), 467_946),
    ("resnet56", (8, 8, 3), 857_706),
  )
  @long.after(5)
  def test_size_and_contract(self, name, image_shape, num_params):
    norm = "affine" if "resnet" in name else ""
    model = networks.make(name, num_classes=10, image_shape=image_shape, norm=norm)
    params = model.init(jax.random.key(0), image_shape)
    self.assertEqual(_count(params), num_params)
    images = jax.random.uniform(jax.random.key(1), (5, *image_shape))
    logits = jax.jit(model.apply)(params, images)
    self.assertEqual(logits.shape, (5, 10))
    self.assertEqual(logits.dtype, jnp.float32)
    # An image's logits do not depend on the rest of its batch.
    alone = jax.jit(model.apply)(params, images[2:3])[0]
    np.testing.assert_allclose(alone, logits[2], rtol=1e-5, atol=1e-5)

  @parameterized.parameters(("linear", 64), ("mlp", 128), ("small_cnn", 64))
  @long.after(2)
  def test_last_layer_takes_the_features(self, name, size):
    model = networks.make(name, num_classes=10, image_shape=(8, 8, 1))
    params = model.init(jax.random.key(0), (8, 8, 1))
    images = jax.random.normal(jax.random.key(1), (5, 8, 8, 1))
    features = jax.jit(model.features)(params, images)
    self.assertEqual(features.shape, (5, size))
    last = params[max(name for name in params if name.startswith("Dense"))]
    logits = features @ last["kernel"] + last["bias"][None]
    expected = model.apply(params, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)

  def test_patches_become_channels(self):
    images = jnp.arange(2 * 4 * 6 * 3, dtype=jnp.float32).reshape(2, 4, 6, 3)
    found = modules.patches(images, 2)
    self.assertEqual(found.shape, (2, 2, 3, 12))
    patch = images[1, 2:4, 4:6]
    np.testing.assert_array_equal(found[1, 1, 2], patch.ravel())
    with self.assertRaisesRegex(errors.InputError, "patch_cnn"):
      networks.make("patch_cnn", num_classes=10, image_shape=(29, 29, 1))

  def test_mnist_cnn_is_the_authors(self):
    """conv 20 5x5 valid, pool, conv 50 5x5 valid, pool, dense 500, dense 10."""
    model = networks.make("mnist_cnn", num_classes=10, image_shape=(28, 28, 1))
    params = model.init(jax.random.key(0), (28, 28, 1))
    kernels = sorted(
      (leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim > 1), key=len
    )
    self.assertCountEqual(kernels, [(5, 5, 1, 20), (5, 5, 20, 50), (800, 500), (500, 10)])

  @parameterized.parameters(
    ("small_cnn", (8, 8, 1), "SAME"), ("mnist_cnn", (28, 28, 1), "VALID")
  )
  @pytest.mark.long
  def test_network_is_its_formula_by_lax_and_reduce_window(self, name, shape, padding):
    model = networks.make(name, num_classes=10, image_shape=shape)
    params = model.init(jax.random.key(0), shape)
    images = jax.random.normal(jax.random.key(1), (3, *shape))

    def reference(params, x):
      for layer in ("Conv_0", "Conv_1"):
        x = jax.lax.conv_general_dilated(
          x,
          params[layer]["kernel"],
          (1, 1),
          padding,
          dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = jax.nn.relu(x + params[layer]["bias"][None, None, None])
        window = (1, 2, 2, 1)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")
      x = x.reshape(3, -1)
      x = jax.nn.relu(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"][None])
      return x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"][None]

    def summed(apply):
      return lambda params: jnp.sum(jnp.sin(apply(params, images)))

    outputs = (jax.jit(f)(params, images) for f in (model.apply, reference))
    np.testing.assert_allclose(*outputs, atol=1e-5)
    ours, theirs = (jax.jit(jax.grad(summed(f)))(params) for f in (model.apply, reference))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
      np.testing.assert_allclose(a, b, atol=2e-5 * max(1.0, float(jnp.abs(b).max())))

  @parameterized.parameters("affine", "group")
  @long.after(0)
  def test_resnet_is_its_formula_by_lax(self, norm):
    """conv, then three stacks of three blocks; the first of a stack halves the image."""
    shape = (9, 8, 3)
    model = networks.make("resnet20", num_classes=4, image_shape=shape, norm=norm)
    params = model.init(jax.random.key(0), shape)
    keys = iter(jax.random.split(jax.random.key(1), 200))
    # Away from ones and zeros, so that each scale, shift and bias counts.
    params = jax.tree.map(
      lambda leaf: leaf + 0.05 * np.asarray(jax.random.normal(next(keys), leaf.shape)),
      jax.tree.map(np.asarray, params),
    )
    images = jax.random.normal(jax.random.key(2), (3, *shape))
    count = {"_Conv": 0, "_Norm": 0}

    def layer(kind):
      count[kind] += 1
      return params[f"{kind}_{count[kind] - 1}"]

    def conv(x, stride=1):
      of = layer("_Conv")
      x = jax.lax.conv_general_dilated(
        x,
        of["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
      )
      return x + of["bias"][None, None, None]

    def normalise(x):
      of = layer("_Norm")
      if norm == "group":
        groups = x.reshape(*x.shape[:3], 8, -1)
        mean = groups.mean((1, 2, 4), keepdims=True)
        variance = groups.var((1, 2, 4), keepdims=True)
        x = ((groups - mean) / jnp.sqrt(variance + 1e-5)).reshape(x.shape)
      return x * of["scale"][None, None, None] + of["shift"][None, None, None]

    def reference(images):
      x = jax.nn.relu(normalise(conv(images)))
      for block in range(9):
        stride = 2 if block in (3, 6) else 1
        y = normalise(conv(jax.nn.relu(normalise(conv(x, stride)))))
        x = jax.nn.relu(y + (conv(x, stride) if stride == 2 else x))
      dense = params["Dense_0"]
      return x.mean((1, 2)) @ dense["kernel"] + dense["bias"][None]

    expected = jax.jit(reference)(images)
    self.assertEqual(count, {"_Conv": 21, "_Norm": 19})
    logits = jax.jit(model.apply)(params, images)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)

  @pytest.mark.long
  def test_is_the_same_on_an_accelerator(self):
    """Logits and gradients of a batch that the CPU takes in chunks of another size."""
    image_shape, batch = (28, 28, 1), 301
    make = functools.partial(
      networks.make, "mnist_cnn", num_classes=10, image_shape=image_shape
    )
    with mock.patch.object(jax, "default_backend", lambda: "gpu"):
      accelerator = make()
    params = accelerator.init(jax.random.key(0), image_shape)
    images = jax.random.normal(jax.random.key(1), (batch, *image_shape))

    def of(apply):
      def value(params):
        logits = apply(params, images)
        return jnp.mean(jnp.sin(logits)), logits

      (_, logits), gradient = jax.jit(jax.value_and_grad(value, has_aux=True))(params)
      return jax.tree.leaves([logits, gradient])

    for ours, theirs in zip(of(make().apply), of(accelerator.apply), strict=True):
      np.testing.assert_allclose(ours, theirs, atol=1e-5 * float(jnp.abs(theirs).max()))

  @parameterized.parameters(("cpu", True), ("gpu", False))
  def test_what_is_faster_depends_on_the_backend(self, backend, reverse):
    with mock.patch.object(jax, "default_backend", lambda: backend):
      model = networks.make("mnist_cnn", num_classes=10, image_shape=(28, 28, 1))
      small = networks.make("small_cnn", num_classes=10, image_shape=(8, 8, 1))
    self.assertEqual(
      (model.microbatch_size, model.reverse_products), (100 * reverse, reverse)
    )
    self.assertFalse(small.reverse_products)

  def test_odd_sizes_are_pooled_as_by_valid_windows(self):
    model = networks.make("small_cnn", num_classes=3, image_shape=(9, 11, 2))
    params = model.init(jax.random.key(0), (9, 11, 2))
    self.assertEqual(params["Dense_0"]["kernel"].shape, (2 * 2 * 32, 64))

  @parameterized.parameters(("resnet20", "batch"), ("resnet20", ""), ("mnist_cnn", "group"))
  def test_a_norm_that_is_not_the_models(self, name, norm):
    with self.assertRaisesRegex(
      errors.InputError, f"model.norm='{norm}' is none of {name}"
    ):
      networks.make(name, num_classes=10, image_shape=(32, 32, 1), norm=norm)

  def test_unknown_name_and_unfit_shape(self):
    with self.assertRaisesRegex(errors.InputError, "lenet.*linear, mlp"):
      networks.make("lenet", num_classes=10, image_shape=(8, 8, 1))
    for backend in ("cpu", "gpu"):
      with (
        mock.patch.object(jax, "default_backend", lambda backend=backend: backend),
        self.assertRaisesRegex(errors.InputError, r"mnist_cnn.*\(8, 8, 1\)"),
      ):
        networks.make("mnist_cnn", num_classes=10, image_shape=(8, 8, 1))


class DefaultTypeTest(parameterized.TestCase):
  """A user's JAX may have float64 as its default type."""

  @parameterized.parameters(*kinds.NETWORKS.names)
  def test_networks_are_float32(self, name):
    shape = (32, 32, 3)
    norm = "affine" if "resnet" in name else ""
    model = networks.make(name, num_classes=10, image_shape=shape, norm=norm)

    def logits(key):
      params = model.init(key, shape)
      return params, model.apply(params, jnp.zeros((2, *shape), jnp.float32))

    with jax.enable_x64(True):
      leaves = jax.tree.leaves(jax.eval_shape(logits, jax.random.key(0)))
    self.assertEqual({str(leaf.dtype) for leaf in leaves}, {"float32"})


if __name__ == "__main__":
  absltest.main()
