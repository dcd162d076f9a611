"""A run's config: its names, and which differences make another run of it."""

import pathlib
import tempfile

from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import config, identity, schema
from pacd_jax.runtime import run_folder


def _comparison(base):
  return identity.Identity({"base": base}, grows=True)


class FieldNameTest(parameterized.TestCase):
  @parameterized.parameters(
    ("sigma", "sigma"),
    ("victims.macer.train.macer.lam", "train.macer.lam"),
    ("base.data.data_dir", "data.data_dir"),
    ("attacks.mine.overrides.attack.save_every", "attack.save_every"),
    ("attacks.mine.row", "attacks.mine.row"),
  )
  def test_is_that_of_one_run(self, name, expected):
    self.assertEqual(schema.field_name(name), expected)

  def test_a_comparison_is_not_bound_to_free_fields(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    for save_every in (1, 2):
      base = {"sigma": 0.5, "train": {"save_every": save_every}}
      with run_folder.RunFolder(folder, _comparison(base)) as held:
        held.claim()
    with self.assertRaisesRegex(errors.InputError, "base.sigma is 0.5 there and 0.2 here"):
      run_folder.RunFolder(folder, _comparison(base | {"sigma": 0.2})).__enter__()


class EarlierVersionTest(absltest.TestCase):
  """A config.json from before a field was there."""

  def test_a_field_that_is_missing_counts_as_its_default(self):
    values = schema.values(config.Config())
    here = identity.Identity(values)
    earlier = schema.flatten(values)
    del earlier["attack.val_noise"]
    there = identity.Identity(schema.nested(earlier))
    self.assertEqual(here.differences(schema.nested(earlier)), "")
    self.assertEqual(here.fingerprint, there.fingerprint)
    other = identity.Identity(
      values | {"attack": values["attack"] | {"val_noise": "fixed"}}
    )
    self.assertEqual(
      other.differences(schema.nested(earlier)),
      "attack.val_noise is 'absent' there and 'fixed' here",
    )
    self.assertNotEqual(other.fingerprint, here.fingerprint)


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
    self.assertEqual(identity.default_name("mnist_ga", variant), expected)


class FlattenTest(absltest.TestCase):
  def test_groups_become_dotted_names(self):
    settings = {
      "seed": 0,
      "rows": ("clean", "pacd"),
      "attack": {"epsilon": 0.1, "norm": "linf", "momentum": {"decay": 0.9}},
    }
    self.assertEqual(
      schema.flatten(settings),
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
