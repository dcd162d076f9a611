"""Runs whose losses, objective and certificates are bounds of the network."""

import tempfile

import asked
import numpy as np
import pytest
from absl.testing import absltest

from configs import digits_ibp
from pacd_jax import errors
from pacd_jax.certification import certificates
from pacd_jax.data import poison_file
from pacd_jax.experiment import door


def _config(**changes):
  config = door.defaults()
  config.update(digits_ibp.get_config("smoke").copy_and_resolve_references())
  config.rows = ("clean", "pacd")
  config.update_from_flattened_dict(changes)
  return config


class BoundedRunsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.enter_context(tempfile.TemporaryDirectory())

  def test_what_has_no_bounds_is_refused_before_any_work(self):
    inside = {"defense.inside": ("bit_depth",), "model.name": "linear"}
    standard = {"attack.loss": "standard", "train.loss": "standard"}
    standard |= {"attack.objective": "accuracy"}
    by_loss, by_procedure = "loss ibp: the network has", "certificates by ibp: the network"
    for changes, words in (
      (inside, f"{by_loss} no bounds: .*transforms inside"),
      (inside | standard, f"{by_procedure} has no bounds: .*transforms inside"),
      (
        inside
        | standard
        | {"attack.objective": "certified_margin", "certify.procedure": "smoothing"},
        "objective certified_margin: the network has no bounds",
      ),
      (
        {"train.adversary.warmup": 4},
        "train.adversary.warmup is 4 epochs and train.num_epochs 3: the radius of "
        "train.loss=ibp would never be whole",
      ),
      ({"train.adversary.epsilon": 1.5}, "train.adversary.epsilon is 1.5: in linf"),
      ({"train.ibp.kappa": 1.5}, "train.ibp.kappa"),
      ({"certify.ibp.norm": "l1"}, "certify.ibp.norm"),
      ({"certify.procedure": "crown", "certify.crown.slopes": "1"}, "certify.crown.slopes"),
    ):
      with self.subTest(words), self.assertRaisesRegex(errors.InputError, words):
        asked.build(_config(**changes), self.workdir)

  @pytest.mark.long
  def test_an_attack_on_interval_bounds(self):
    table = asked.run(_config(**{"model.name": "linear"}), self.workdir)
    self.assertIn("verified %", table)
    plan = door.load(self.workdir)
    record = certificates.read(plan.folder.certificate("clean", 0))
    self.assertEqual(record.sidecar["procedure"], "ibp")
    self.assertTrue(record.sidecar["box"])
    self.assertGreater(record.radius.max(), 0.0)
    poison = poison_file.load(plan.folder.poison("pacd"))
    self.assertGreater(np.abs(poison.images.astype(int) - poison.base_images).max(), 0)


if __name__ == "__main__":
  absltest.main()
