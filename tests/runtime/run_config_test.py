"""A run's config: its names, and which differences make another run of it."""

import copy
import functools
import json
import pathlib
import tempfile

from absl.testing import absltest, parameterized

from configs import base
from pacd_jax import errors
from pacd_jax.runtime import run_folder


def _claim(workdir, settings):
  """Enters the folder, claims it and leaves it again; returns its fingerprint."""
  with run_folder.RunFolder(workdir, settings) as folder:
    folder.claim()
    return folder.fingerprint


class FieldNameTest(parameterized.TestCase):
  @parameterized.parameters(
    ("sigma", "sigma"),
    ("victims.macer.train.macer.lam", "train.macer.lam"),
    ("base.data.data_dir", "data.data_dir"),
    ("attacks.mine.overrides.attack.save_every", "attack.save_every"),
    ("attacks.mine.row", "attacks.mine.row"),
  )
  def test_is_that_of_one_run(self, name, expected):
    self.assertEqual(run_folder.field_name(name), expected)

  def test_a_comparison_is_not_bound_to_free_fields(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    for save_every in (1, 2):
      base = {"sigma": 0.5, "train": {"save_every": save_every}}
      with run_folder.RunFolder(folder, {"base": base}) as held:
        held.claim()
    with self.assertRaisesRegex(errors.InputError, "base.sigma is 0.5 there and 0.2 here"):
      run_folder.RunFolder(folder, {"base": base | {"sigma": 0.2}}).__enter__()


class LaterFieldsTest(absltest.TestCase):
  """A folder of before a field came is that of the field's default."""

  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self._now = run_folder.completed(base.get_config().to_dict())
    self._before = copy.deepcopy(self._now)
    for name in run_folder.LATER:
      *groups, field = name.split(".")
      del functools.reduce(lambda group, key: group[key], groups, self._before)[field]

  def test_defaults_are_those_of_the_base_config(self):
    self.assertEqual(run_folder.completed(self._before), self._now)
    flat = run_folder.flatten(json.loads(json.dumps(base.get_config().to_dict())))
    self.assertEqual(run_folder.LATER, {name: flat[name] for name in run_folder.LATER})

  def test_a_folder_of_before_is_opened_and_keeps_its_fingerprint(self):
    first = _claim(self._folder, self._before)
    self.assertEqual(_claim(self._folder, self._now), first)

  def test_another_value_is_another_config(self):
    first = _claim(self._folder, self._before)
    other = copy.deepcopy(self._now)
    other["train"]["weight_decay"] = 0.5
    with self.assertRaisesRegex(errors.InputError, "weight_decay is 0.0 there and 0.5"):
      _claim(self._folder, other)
    self.assertNotEqual(_claim(self._folder / "other", other), first)

  def test_a_damaged_config_is_left_to_its_check(self):
    self.assertEqual(run_folder.completed({"train": 3}), {"train": 3})


class DefaultNameTest(parameterized.TestCase):
  @parameterized.parameters(
    ("", "mnist_ga"),
    ("fast", "mnist_ga_fast"),
    ("sigma=0.5,fast", "mnist_ga_fast_sigma=0.5"),
    ("fast,sigma=0.5", "mnist_ga_fast_sigma=0.5"),
    (",eps02,model.name=mlp", "mnist_ga_eps02_model.name=mlp"),
    ("a/../b", "mnist_ga_a_.._b"),
  )
  def test_is_the_same_in_any_order(self, variant, expected):
    self.assertEqual(run_folder.default_name("mnist_ga", variant), expected)


class FlattenTest(absltest.TestCase):
  def test_groups_become_dotted_names(self):
    settings = {
      "seed": 0,
      "rows": ("clean", "pacd"),
      "attack": {"epsilon": 0.1, "norm": "linf", "momentum": {"decay": 0.9}},
    }
    self.assertEqual(
      run_folder.flatten(settings),
      {
        "seed": 0,
        "rows": ("clean", "pacd"),
        "attack.epsilon": 0.1,
        "attack.norm": "linf",
        "attack.momentum.decay": 0.9,
      },
    )


if __name__ == "__main__":
  absltest.main()
