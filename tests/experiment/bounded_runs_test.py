"""Runs whose losses, objective and certificates are bounds of the network."""

import tempfile

import asked
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest

from configs import digits_ibp
from pacd_jax import errors, types
from pacd_jax.bounds import layers
from pacd_jax.certification import certificates
from pacd_jax.data import poison_file
from pacd_jax.experiment import door, kinds


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
        | {"attack.objective": "certified_margin", "certify.procedure": "smoothing"}
        | {"attack.knows_defense": True},  # Else its surrogate is the network alone.
        "objective certified_margin: the network has no bounds",
      ),
      (
        {"train.adversary.warmup": 4},
        "train.adversary.warmup is 4 epochs and train.num_epochs 3: the radius of "
        "train.loss=ibp would never be whole",
      ),
      (
        {"attack.adversary.warmup": 10_000},
        "attack.adversary.warmup is 10000 Adam steps and a surrogate's, .*: the radius of "
        "attack.loss=ibp would never be whole",
      ),
      ({"train.adversary.epsilon": 1.5}, "train.adversary.epsilon is 1.5: in linf"),
      ({"train.ibp.kappa": 1.5}, "train.ibp.kappa"),
      ({"certify.ibp.norm": "l1"}, "certify.ibp.norm"),
      ({"certify.procedure": "crown", "certify.crown.slopes": "1"}, "certify.crown.slopes"),
    ):
      with self.subTest(words), self.assertRaisesRegex(errors.InputError, words):
        asked.build(_config(**changes), self.workdir)

  def test_layers_without_bounds_are_refused_before_any_work_and_named(self):
    def init(key, shape):
      del key
      return layers.Dense(jnp.zeros((int(np.prod(shape)), 10)), jnp.zeros(10))

    def network(of_layers):
      model = types.Model(init, lambda p, x: x.reshape(len(x), -1) @ p.kernel)
      entry = kinds.Network(
        "odd", lambda tools, options: model._replace(describe=of_layers), "odd"
      )
      kinds.NETWORKS.add(entry)

    for of_layers, words in (
      (lambda p: (layers.Flatten(), {}, p), "a layer dict has no bounds"),
      (lambda p: (layers.Flatten(), p, layers.Relu()), "last layer is not Dense but Relu"),
    ):
      network(of_layers)
      try:
        with self.assertRaisesRegex(
          errors.InputError, f"^certify.procedure=ibp: .*{words}"
        ):
          asked.build(_config(**{"model.name": "odd"}), self.workdir)
      finally:
        kinds.NETWORKS.remove("odd")

  def test_the_box_is_of_a_ball_that_is_cut(self):
    for norm, is_cut in (("linf", True), ("l2", False)):
      changes = {"model.name": "linear", "certify.ibp.norm": norm}
      procedure = asked.build(_config(**changes), self.workdir).certify.procedure
      self.assertEqual(procedure.described()["box"], is_cut)

  @pytest.mark.long
  def test_an_attack_on_interval_bounds(self):
    table = asked.run(_config(**{"model.name": "linear"}), self.workdir)
    self.assertIn("verified at 0.1 %", table)
    plan = door.load(self.workdir)
    record = certificates.read(plan.folder.certificate("clean", 0))
    self.assertEqual(record.sidecar["procedure"], "ibp")
    self.assertTrue(record.sidecar["box"])
    self.assertGreater(record.radius.max(), 0.0)
    poison = poison_file.load(plan.folder.poison("pacd"))
    self.assertGreater(np.abs(poison.images.astype(int) - poison.base_images).max(), 0)


if __name__ == "__main__":
  absltest.main()
