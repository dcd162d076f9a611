"""Every config loads, with every variant, and is one that a run accepts."""

import importlib.util
import pathlib
import re

from absl.testing import absltest, parameterized

from configs import comparisons
from pacd_jax.experiment import (
  attack_specs,
  config_files,
  defense_specs,
  kinds,
  schema,
  suite_specs,
  target_specs,
  together,
)

_FOLDER = pathlib.Path(__file__).resolve().parents[2] / "configs"
_CONFIGS = config_files.names()
_PAPER_SCALE = [name for name in _CONFIGS if not name.startswith("digits")]


def _load(name):
  spec = importlib.util.spec_from_file_location(name, _FOLDER / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _runs(config):
  """The config itself; a suite's with what it gives to its runs."""
  if "defenses" in config:
    spec = defense_specs.parse(config.to_dict())
    schemas = [spec.base, *spec.defenses.values(), *spec.adaptive.values()]
    for each in schemas:
      together.check(each)
    config.base.poisons, config.base.data.data_dir = {}, ""
    return [config.base]
  if "attacks" in config and "epsilons" not in config:
    for attack in attack_specs.parse(config.to_dict()).attacks.values():
      together.check(attack.config)
    config.base.rows, config.base.poisons, config.base.data.data_dir = ("clean",), {}, ""
    return [config.base]
  if "attacks" in config:
    suite_specs.comparison(config.to_dict())
    run = config.base
    run.rows, run.poisons = ("clean",), {}
    run.data.data_dir, run.attack.epsilon = config.data.data_dir, config.epsilons[0]
    return [run]
  if "targets" in config:
    spec = target_specs.parse(config.to_dict())
    for each in spec.parts.values():
      together.check(each)
    config.base.poisons, config.base.data.data_dir = {}, ""
    config.base.train.frozen_features = ""
    for row in config.base.rows[1:]:
      config.base[row].target = 0
    return [config.base]
  if "victims" not in config:
    return [config]
  for victim in config.victims.values():
    victim.rows, victim.poisons = ("clean",), {}
    victim.data.data_dir = config.data.data_dir
  return config.victims.values()


class ConfigsTest(parameterized.TestCase):
  def test_there_are_configs(self):
    self.assertIn("digits_ga", _CONFIGS)

  @parameterized.product(name=_CONFIGS, variant=("", "smoke"))
  def test_loads(self, name, variant):
    for config in _runs(_load(name).get_config(variant)):
      together.check(schema.make(config.to_dict()))

  def test_every_method_has_its_configs(self):
    methods = ("ga", "macer", "smoothadv", "standard")
    names = [f"{data}_{m}" for data in ("digits", "mnist", "cifar10") for m in methods]
    self.assertContainsSubset([*names, "mnist_transfer", "digits_transfer"], _CONFIGS)

  @parameterized.parameters(*_PAPER_SCALE)
  def test_paper_scale_has_a_fast_variant(self, name):
    for config in _runs(_load(name).get_config("fast")):
      together.check(schema.make(config.to_dict()))
      self.assertLess(config.data.num_train, 20_000)
      self.assertGreater(config.data.num_train, 0)

  @parameterized.parameters((0.25, 12.0), (0.5, 4.0))
  def test_settings_of_the_paper_for_each_sigma(self, sigma, lam):
    config = _load("cifar10_macer").get_config(f"sigma={sigma}")
    self.assertEqual((config.sigma, config.train.macer.lam), (sigma, lam))

  @parameterized.parameters("digits_transfer", "mnist_transfer")
  def test_transfers_take_poisons_where_the_runs_leave_them(self, name):
    config = _load(name).get_config("sigma=0.5,smoke")
    macer = name.replace("transfer", "macer")
    self.assertEqual(config.poisons.macer, f"runs/{macer}_smoke_sigma=0.5")
    self.assertEqual(config.poisons.yours, "")

  @parameterized.parameters("digits_compare", "mnist_compare")
  def test_comparisons(self, name):
    self.assertContainsSubset(comparisons.BASELINES, kinds.ROWS.names)
    for variant in ("smoke", "") if name == "digits_compare" else ("", "fast"):
      config = _load(name).get_config(variant)
      num_victims = config.base.train.num_victims
      self.assertEqual(num_victims, 2 if variant == "smoke" else 5)
    attacks = {attack: config.attacks[attack].row for attack in config.attacks}
    self.assertContainsSubset(
      {row: row for row in (*comparisons.BASELINES, "pacd")}, attacks
    )
    left_out = [attack for attack, row in attacks.items() if not row]
    own = ("clean", *comparisons.BASELINES, *left_out, "pacd")
    of_class = [row.name for row in kinds.ROWS if row.is_bounded and not row.is_targeted]
    self.assertCountEqual(own, of_class)
    self.assertIn("lsp", left_out)
    self.assertContainsSubset({0.05, 0.1}, config.epsilons)
    for variant in ("attack.epsilon=0.3", "data.data_dir=there"):
      with self.assertRaisesRegex(ValueError, "is for all runs of a comparison: use"):
        _load(name).get_config(variant)

  def test_table_1(self):
    config = _load("mnist_transfer").get_config("table1,fast")
    methods = ["gaussian", "macer", "smoothadv", "standard"]
    self.assertEqual(list(config.victims), methods)
    self.assertEqual(config.victims.standard.train.loss, "standard")
    self.assertEqual(config.poisons.standard, "runs/mnist_standard_fast")

  @parameterized.product(name=_CONFIGS)
  def test_fields_behind_the_colon(self, name):
    variant = "sigma=0.5,certify.n=77,smoke,seed=3,train.macer.gamma=6"
    for config in _runs(_load(name).get_config(variant)):
      self.assertEqual((config.sigma, config.certify.n, config.seed), (0.5, 77, 3))
      self.assertEqual(config.train.macer.gamma, 6.0)
      together.check(schema.make(config.to_dict()))

  def test_fractions_are_numbers(self):
    config = _load("cifar10_ga").get_config("attack.epsilon=8/255")
    self.assertEqual(config.attack.epsilon, 8 / 255)

  @parameterized.parameters(
    ("attack.epsilon=8/0", "attack.epsilon=8/0: give a value of type float"),
    ("sigmaa=0.5", "no field 'sigmaa'"),
    ("attack.sigma=0.5", "no field 'attack.sigma'"),
    ("no.such.group=1", "no field 'no.such.group'"),
    ("sigma=high", "sigma=high: give a value of type float"),
    ("seed=0.5", "seed=0.5: give a value of type int"),
    ("attack=1", "field attack cannot be set here"),
    ("rows=clean", "field rows cannot be set here"),
  )
  def test_bad_fields_behind_the_colon(self, variant, message):
    with self.assertRaisesRegex(ValueError, message):
      _load("digits_ga").get_config(variant)

  @parameterized.product(name=_CONFIGS)
  def test_docstring_is_a_lab_notebook(self, name):
    """Command, and what came out on what, or that it has not been run."""
    text = " ".join(_load(name).__doc__.split())
    for word in (f"--config=configs/{name}.py", "ACR", "two cores"):
      self.assertIn(word, text)
    if not re.search("not been run|[Nn]either this scale", text):
      self.assertRegex(text, r"pacd 0\.\d{3}|gaussian 0\.\d{3}")
      self.assertRegex(text, r"two cores.* in (\d+ s|\d+ minutes)")

  @parameterized.product(name=_CONFIGS)
  def test_unknown_variant_names_the_known(self, name):
    with self.assertRaisesRegex(ValueError, "'huge'.*smoke"):
      _load(name).get_config("huge")


if __name__ == "__main__":
  absltest.main()
