"""Weights as safetensors: back to the bit in both layouts, and files of other networks."""

import contextlib
import functools
import io
import json
import pathlib
import sys
import tempfile
from unittest import mock

import finished_run
import jax
import numpy as np
from absl.testing import absltest, parameterized
from safetensors import numpy as safetensors

import pacd_jax
from pacd_jax import errors
from pacd_jax.experiment import door, kinds, stages, weights_command
from pacd_jax.models import torch_layout

_OF = {"network": "small_cnn", "num_classes": 10, "image_shape": (8, 8, 1)}


@functools.cache
def _params(network="small_cnn"):
  model = pacd_jax.make_network(network, num_classes=10, image_shape=(8, 8, 1))
  return model.init(jax.random.key(0), (8, 8, 1))


class _FileTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder, "new", "weights.safetensors")

  def refused(self, message, **given):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      pacd_jax.load_weights(self.path, **given)
    self.assertNotIn("\n", str(caught.exception))

  def store(self, tensors, metadata=None):
    self.path.parent.mkdir(exist_ok=True)
    self.path.write_bytes(safetensors.save(tensors, metadata))


class BackAndForthTest(_FileTestCase):
  @parameterized.parameters("flax", "pytorch")
  def test_to_the_bit(self, layout):
    params = _params()
    pacd_jax.save_weights(self.path, params, layout=layout, **_OF)
    model, back = pacd_jax.load_weights(self.path)
    jax.tree.map(np.testing.assert_array_equal, back, params)
    self.assertEqual(model.apply(back, np.zeros((2, 8, 8, 1), np.float32)).shape, (2, 10))
    name = {"flax": "Dense_0/kernel", "pytorch": "dense.0.weight"}[layout]
    self.assertIn(name, safetensors.load_file(self.path))
    self.assertLen(list(self.path.parent.iterdir()), 1)

  def test_of_another_program_without_metadata(self):
    params = _params()
    self.store(torch_layout.to_torch(params, 1))
    self.refused("does not say which network it is of: give network of it")
    _, back = pacd_jax.load_weights(self.path, **_OF)
    jax.tree.map(np.testing.assert_array_equal, back, params)

  def test_a_network_of_ones_own_has_no_layout_for_pytorch(self):
    entry = kinds.Network("mine", kinds.NETWORKS["mlp"].make, "like mlp")
    kinds.NETWORKS.add(entry)
    self.addCleanup(kinds.NETWORKS.remove, "mine")
    params, of = _params("mlp"), _OF | {"network": "mine"}
    pacd_jax.save_weights(self.path, params, **of)
    jax.tree.map(np.testing.assert_array_equal, pacd_jax.load_weights(self.path)[1], params)
    with self.assertRaisesRegex(errors.InputError, "mine has no layout for PyTorch"):
      pacd_jax.save_weights(self.path, params, layout="pytorch", **of)
    self.store(torch_layout.to_torch(params, 1))
    self.refused("mine has no layout for PyTorch", **of)


class BadInputTest(_FileTestCase):
  def test_of_another_network_names_the_layers(self):
    self.store({"fc1.weight": np.zeros((2, 64), np.float32)})
    self.refused(
      "weights.safetensors: weights of another network than small_cnn: it lacks "
      "conv.0.bias, conv.0.weight, .* and 3 more and has fc1.weight, which small_cnn has",
      **_OF,
    )
    self.store({"Dense_0/kernel": np.zeros((64, 10), np.float32)})
    self.refused(
      "another network than linear: it lacks Dense_0/bias$", **_OF | {"network": "linear"}
    )

  def test_tensors_that_do_not_fit(self):
    whole = torch_layout.to_torch(_params(), 1)
    kernel = whole["conv.0.weight"]
    for array, message in (
      (kernel[:3], r"conv.0.weight is of shape \(3, 1, 3, 3\), and in small_cnn of \(16"),
      (kernel.astype(np.float16), "conv.0.weight is F16: save it as float32"),
      (kernel * np.float32(np.nan), "conv.0.weight has values that are not finite"),
    ):
      self.store(whole | {"conv.0.weight": array})
      self.refused(message, **_OF)

  def test_files_that_are_damaged(self):
    self.refused("weights.safetensors cannot be read: No such file or directory$")
    pacd_jax.save_weights(self.path, _params(), **_OF)
    whole = self.path.read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
      self.path.write_bytes(whole[:size])
      self.refused("is truncated, or no safetensors file")
    for words, message in (
      ("{", "metadata pacd_jax do not say network, norm"),
      ("[1]", "metadata pacd_jax do not say network, norm"),
      ('{"schema": 1}', "metadata pacd_jax do not say network, norm"),
      ('{"schema": 2}', "its schema is 2, and this version reads 1"),
    ):
      self.store({}, {"pacd_jax": words})
      self.refused(message)

  def test_what_contradicts_the_metadata(self):
    pacd_jax.save_weights(self.path, _params(), **_OF)
    self.refused(
      "is of another network: network is 'small_cnn' there and 'mlp' here", network="mlp"
    )
    self.refused(
      r"image_shape is \(8, 8, 1\) there and \(28, 28, 1\)", image_shape=(28, 28, 1)
    )

  def test_parameters_that_are_not_the_networks(self):
    for params, message in (
      (_params("mlp"), "params: weights of another network than small_cnn: it"),
      (jax.tree.map(lambda leaf: leaf[None], _params()), "Conv_0/bias is of shape"),
      (jax.tree.map(lambda leaf: leaf * np.nan, _params()), "values that are not finite"),
      (jax.tree.map(np.float64, _params()), "is float64, not float32"),
    ):
      with self.assertRaisesRegex(errors.InputError, message):
        pacd_jax.save_weights(self.path, params, **_OF)
    with self.assertRaisesRegex(errors.InputError, "layout='torch': use one of flax, py"):
      pacd_jax.save_weights(self.path, _params(), layout="torch", **_OF)
    self.assertFalse(self.path.exists())

  def test_safetensors_is_not_installed(self):
    with mock.patch.dict(sys.modules, {"safetensors": None}):
      self.refused("weights need the package safetensors: pip install safetensors")
      with self.assertRaisesRegex(errors.InputError, "need the package safetensors"):
        pacd_jax.save_weights(self.path, {}, **_OF)


class CommandTest(finished_run.FinishedRunTestCase):
  def _command(self, *arguments):
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
      status = weights_command.main([str(each) for each in arguments])
    return status, out.getvalue(), said.getvalue()

  def test_a_victim_of_a_run(self):
    before = sorted(self.finished.rglob("*"))
    path = self.workdir.with_name("victim.safetensors")
    arguments = ("export", self.finished, path, "--row=pacd", "--seed=1")
    status, out, _ = self._command(*arguments, "--layout=pytorch")
    self.assertEqual((status, out), (0, f"pacd, seed 1: {path}\n"))
    plan = door.load(self.finished)
    expected = stages.load_victims(plan)["pacd", 1]
    jax.tree.map(np.testing.assert_array_equal, pacd_jax.load_weights(path)[1], expected)
    self.assertEqual(sorted(self.finished.rglob("*")), before)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    words = json.loads(metadata["pacd_jax"])
    self.assertEqual((words["row"], words["seed"], words["sigma"]), ("pacd", 1, 0.25))
    self.assertIn("commit", words["stamps"][0])
    status, _, said = self._command(*arguments)
    self.assertEqual(status, 2)
    self.assertRegex(said, r"\Aerror: .*victim.safetensors is there already.*\n\Z")

  def test_what_is_not_there(self):
    path = self.workdir.with_name("victim.safetensors")
    run = self.copy_finished()
    for arguments, words in (
      ((run, path, "--row=watermark"), "--row=watermark: .* has clean, classwise"),
      ((run, path, "--seed=7"), "--seed=7: .* has 0 to 1"),
      ((path.parent / "nowhere", path), "is no run's config"),
      ((run, path, "--layout=keras"), "see pacd weights export --help"),
    ):
      status, out, said = self._command("export", *arguments)
      self.assertEqual((status, out), (2, ""))
      self.assertRegex(said, rf"\Aerror: .*{words}.*\n\Z")
    (run / "checkpoints" / "train").rename(run / "moved")
    status, _, said = self._command("export", run, path)
    self.assertRegex(said, "has no checkpoints/train: run --stage=train first")
    self.assertFalse(path.exists() or (run / "checkpoints" / "train").exists())


if __name__ == "__main__":
  absltest.main()
