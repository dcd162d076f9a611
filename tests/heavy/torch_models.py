"""PyTorch's models beside the package's own: `make test-torch`.

It is no file for pytest, as PyTorch is of the extra `bench` alone. It runs the examples of
docs/pytorch.md as they stand, and compares the modules defined there, on 20 images, with
the networks that their weights were converted from and to.
"""

import os
import pathlib
import re
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import torch
from absl.testing import absltest, parameterized
from jax.experimental import buffer_callback
from safetensors import torch as safetensors
from sklearn import datasets
from torch import nn

import pacd_jax

_PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "pytorch.md"
_LENET = {"network": "mnist_cnn", "num_classes": 10, "image_shape": (28, 28, 1)}
_RESNET = {"network": "resnet20", "num_classes": 10, "image_shape": (32, 32, 3)}
_NUM_IMAGES = 20
_ROUNDING = 1e-4  # Of float32 logits of a few units.


def _digits(shape):
  """scikit-learn's digits, each pixel enlarged: uint8 `[N, H, W, C]`, and labels."""
  height, width, channels = shape
  digits = datasets.load_digits()
  images = np.rint(digits.images * 255 / 16).astype(np.uint8)
  images = np.kron(images, np.ones((height // 8, width // 8), np.uint8))
  rest = [(0, 0), *(((n - n // 8 * 8) // 2,) * 2 for n in (height, width)), (0, 0)]
  return np.pad(images[..., None].repeat(channels, -1), rest), digits.target


def _images(shape):
  return _digits(shape)[0][-_NUM_IMAGES:].astype(np.float32) / np.float32(255)


def _trained():
  """A victim that knows its digits: the paper's CNN under Gaussian augmentation."""
  changes = {"train.num_victims": 1, "train.num_epochs": 6, "train.batch_size": 100}
  data = pacd_jax.split_arrays(*_digits(_LENET["image_shape"]))
  config = pacd_jax.make_config("mnist_ga", changes=changes)
  (params,) = pacd_jax.train_victims(data.train, config).params
  return params


def _drawn(of, norm):
  """Parameters of which no two are equal, norms and biases too."""
  model = pacd_jax.make_network(**_named(of), norm=norm)
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape, scale=0.05), jnp.float32),
    model.init(jax.random.key(0), of["image_shape"]),
  )


def _named(of):
  return {"name": of["network"]} | {n: of[n] for n in ("num_classes", "image_shape")}


class TorchTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.addClassCleanup(os.chdir, os.getcwd())
    os.chdir(cls.enterClassContext(tempfile.TemporaryDirectory()))
    cls.lenet = _trained()
    pacd_jax.save_weights("victim.safetensors", cls.lenet, layout="pytorch", **_LENET)
    examples = re.findall(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    assert len(examples) == 4
    torch.manual_seed(0)
    cls.page = {}
    for number, example in enumerate(examples):
      exec(compile(example, f"pytorch.md, example {number}", "exec"), cls.page)

  def _cases(self, name):
    """A module of the page, its parameters here, and what `save_weights` has to know."""
    if name == "lenet":
      return self.page["LeNet"](), self.lenet, _LENET
    norm = name.removeprefix("resnet20 ")
    make = {"affine": self.page["Affine"], "group": lambda c: nn.GroupNorm(8, c)}[norm]
    return self.page["ResNet"](norm=make), _drawn(_RESNET, norm), _RESNET | {"norm": norm}

  def test_the_page(self):
    self.assertEqual(self.page["votes"].sum(axis=1).tolist(), [1000, 1000])
    with torch.no_grad():
      theirs = self.page["module"](torch.tensor(self.page["images"]).permute(0, 3, 1, 2))
    np.testing.assert_allclose(self.page["logits"], theirs, atol=_ROUNDING)

  @parameterized.parameters("lenet", "resnet20 affine", "resnet20 group")
  def test_both_ways_and_votes(self, name):
    module, params, of = self._cases(name)
    images = _images(of["image_shape"])
    pacd_jax.save_weights("one.safetensors", params, layout="pytorch", **of)
    module.load_state_dict(safetensors.load_file("one.safetensors"))
    apply = self.page["function_of"](module, 10)
    model, _ = pacd_jax.load_weights("one.safetensors")
    ours, theirs = model.apply(params, images), apply({}, images)
    self.assertGreater(np.ptp(ours), 0.5)
    np.testing.assert_allclose(ours, theirs, atol=_ROUNDING)

    fresh, _, _ = self._cases(name)  # PyTorch's own initial weights.
    safetensors.save_file(fresh.state_dict(), "other.safetensors")
    model, others = pacd_jax.load_weights("other.safetensors", **of)
    theirs = self.page["function_of"](fresh, 10)({}, images)
    np.testing.assert_allclose(model.apply(others, images), theirs, atol=_ROUNDING)

    self._compare_votes(model, params, module, images, 1000 if name == "lenet" else 200)

  def _compare_votes(self, model, params, module, images, n):
    gaps, of_torch = [], self.page["function_of"](module, 10)

    def compared(params, images):
      """The package's logits; where PyTorch votes otherwise, the gap is recorded."""
      ours, theirs = model.apply(params, images), of_torch({}, images)

      def record(context, out, ours, theirs):
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        differ = ours.argmax(-1) != theirs.argmax(-1)
        first, second = np.sort(ours[differ])[:, :-3:-1].T
        gaps.extend(first - second)
        np.asarray(out)[...] = ours

      return buffer_callback.buffer_callback(record, ours)(ours, theirs)

    settings = {"sigma": 0.25, "n0": 50, "n": n, "alpha": 0.001, "batch_size": 500}
    key = jax.random.key(2)
    found = [
      pacd_jax.certify(apply, given, images, jax.random.clone(key), **settings)
      for apply, given in ((compared, params), (of_torch, {}))
    ]
    (predicted, _, votes), (of_theirs, _, theirs) = found
    moved = np.abs(votes - theirs).sum() // 2
    sys.stdout.write(f"{votes.sum()} votes: {moved} differ, {len(gaps)} ties\n")
    self.assertLess(max(gaps, default=0.0), _ROUNDING)
    self.assertLessEqual(moved, len(gaps))
    if not gaps:
      np.testing.assert_array_equal(votes, theirs)
      np.testing.assert_array_equal(predicted, of_theirs)

  def test_a_file_of_another_network(self):
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    safetensors.save_file(module.state_dict(), "other.safetensors")
    with self.assertRaisesRegex(pacd_jax.InputError, "lacks conv.0.bias, .* has 1.bias"):
      pacd_jax.load_weights("other.safetensors", **_LENET)


if __name__ == "__main__":
  absltest.main()
