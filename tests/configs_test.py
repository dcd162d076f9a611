"""Every config loads, with every variant, and is one that a run accepts."""

import importlib.util
import pathlib

from absl.testing import absltest, parameterized

from pacd_jax import settings

_FOLDER = pathlib.Path(__file__).resolve().parent.parent / "configs"
_CONFIGS = sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem != "base")


def _load(name):
  spec = importlib.util.spec_from_file_location(name, _FOLDER / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


class ConfigsTest(parameterized.TestCase):
  def test_there_are_configs(self):
    self.assertIn("digits_ga", _CONFIGS)

  @parameterized.product(name=_CONFIGS, variant=("", "smoke"))
  def test_loads(self, name, variant):
    config = _load(name).get_config(variant)
    settings.check(config.to_dict())

  @parameterized.parameters("mnist_ga", "cifar10_ga")
  def test_paper_scale_has_a_fast_variant(self, name):
    config = _load(name).get_config("fast")
    settings.check(config.to_dict())
    self.assertLess(config.data.num_train, 20_000)
    self.assertGreater(config.data.num_train, 0)

  @parameterized.product(name=_CONFIGS)
  def test_fields_behind_the_colon(self, name):
    config = _load(name).get_config("sigma=0.5,certify.n=77,smoke,seed=3")
    self.assertEqual((config.sigma, config.certify.n, config.seed), (0.5, 77, 3))
    settings.check(config.to_dict())

  @parameterized.parameters(
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
    """Command, what came out, on what."""
    text = _load(name).__doc__
    for word in (f"--config=configs/{name}.py", "ACR", "two cores"):
      self.assertIn(word, text)
    self.assertRegex(text, r"pacd +0\.\d{3} \+- 0\.\d{3}")
    self.assertRegex(text, r"two cores.* in (\d+ s|\d+ minutes)")

  @parameterized.product(name=_CONFIGS)
  def test_unknown_variant_names_the_known(self, name):
    with self.assertRaisesRegex(ValueError, "'huge'.*smoke"):
      _load(name).get_config("huge")


if __name__ == "__main__":
  absltest.main()
