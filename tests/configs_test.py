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

  @parameterized.product(name=_CONFIGS)
  def test_docstring_is_a_lab_notebook(self, name):
    """Command, what came out, on what."""
    text = _load(name).__doc__
    for word in (f"--config=configs/{name}.py", "ACR", "two cores"):
      self.assertIn(word, text)

  @parameterized.product(name=_CONFIGS)
  def test_unknown_variant_names_the_known(self, name):
    with self.assertRaisesRegex(ValueError, "'huge'.*smoke"):
      _load(name).get_config("huge")


if __name__ == "__main__":
  absltest.main()
