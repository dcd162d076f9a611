"""A run that certifies by a deterministic procedure, from its config to its page."""

import dataclasses
import json
import tempfile
from unittest import mock

import asked
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest

from configs import digits_ga
from pacd_jax import errors
from pacd_jax.certification import certificates, certify, smoothed
from pacd_jax.experiment import checks, door, evade_command, kinds
from pacd_jax.experiment.entries import procedures


def _exact(tools, options):
  """The margin of a linear classifier over the dual norm of the difference of weights."""
  basis = jnp.eye(int(np.prod(tools.image_shape)), dtype=jnp.float32)

  def verify(params, images, radii):
    zero = jnp.zeros((1, *tools.image_shape), jnp.float32)
    bias = tools.model.apply(params, zero)
    weights = tools.model.apply(params, basis.reshape(-1, *tools.image_shape)) - bias
    logits = tools.model.apply(params, images)
    top = logits.argmax(axis=-1)
    margins = jnp.take_along_axis(logits, top[:, None], axis=-1) - logits
    differences = jnp.abs(weights.T[top][:, None] - weights.T[None])
    dual = differences.sum(axis=-1)
    if options.norm == "l2":
      dual = jnp.sqrt((differences**2).sum(axis=-1))
    others = jnp.arange(logits.shape[-1])[None] != top[:, None]
    return top, jnp.where(others, margins > radii[:, None] * dual, True).all(axis=-1)

  return verify


_ENTRY = procedures.verifying("exact_linear", _exact, "exact")


class ProceduresTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    kinds.PROCEDURES.add(_ENTRY)
    self.addCleanup(kinds.PROCEDURES.remove, _ENTRY.name)
    self.workdir = self.enter_context(tempfile.TemporaryDirectory())

  def _config(self, **changes):
    config = door.defaults()
    config.update(digits_ga.get_config("smoke").copy_and_resolve_references())
    config.model.name = "linear"
    config.rows = ("clean", "brightness")
    config.certify.procedure = "exact_linear"
    config.update_from_flattened_dict(changes)
    return config

  @pytest.mark.long
  def test_a_run_and_its_page(self):
    table = asked.run(self._config(), self.workdir)
    for words in ("verified at 0.1 %", "by exact_linear: radii in l_inf", "ball of 0.1"):
      self.assertIn(words, table)
    self.assertNotIn("n0", table)
    plan = door.load(self.workdir)
    record = certificates.read(plan.folder.certificate("clean", 0))
    self.assertGreater(record.radius.max(), 0.0)
    self.assertEqual(record.sidecar["run"], plan.folder.fingerprint)
    page = (plan.folder.path / "report" / "index.html").read_text()
    self.assertIn("The procedure exact_linear bounds", page)
    self.assertNotIn("Randomized smoothing with", page)
    results = json.loads(plan.folder.results.read_text())
    self.assertEqual(results["rows"][0]["verified"]["epsilon"], float(np.float32(0.1)))
    with self.subTest("the nearest that is found is no nearer than what is certified"):
      status = evade_command.main([self.workdir, "--norm=linf", "--num_points=5"])
      self.assertEqual(status, 0)
      (file,) = (plan.folder.path / "evasion").iterdir()
      found = json.loads(file.read_text())
      self.assertEqual(found["epsilon"], [0.1])
      for victim in found["victims"]:
        self.assertEmpty(victim["contradictions"])
        points = victim["points"]
        certified, nearest = (
          np.array(points[name]) for name in ("certified_radius", "distance")
        )
        self.assertTrue((certified <= nearest + 1e-6).all())
        self.assertTrue((nearest < certified + 0.02).any())  # Of a linear one: exact.
    with self.subTest("other balls are another run's"):
      changed = self._config(**{"certify.exact_linear.norm": "l2"})
      with self.assertRaisesRegex(errors.InputError, "norm"):
        asked.run(changed, self.workdir)

  def test_what_it_has_no_use_for_is_refused(self):
    for field, value, words in (
      ("certify.dtype", "bfloat16", "certify.dtype is bfloat16, which is for votes"),
      ("certify.mode", "adaptive", "certify.mode is adaptive, which is for votes"),
      ("certify.sound", True, "certify.sound is True, which is for votes"),
      ("train.stopping.every", 1, "train.stopping.every is 1, which is for votes"),
      (
        "certify.exact_linear.epsilon",
        0.6,
        "field certify.exact_linear: epsilon=0.6 is above",
      ),
      ("certify.exact_linear.norm", "l1", "certify.exact_linear.norm"),
      ("certify.procedure", "exact", "certify.procedure"),
    ):
      with self.subTest(field), self.assertRaisesRegex(errors.InputError, words):
        asked.build(self._config(**{field: value}), self.workdir)

  def test_what_smoothing_needs_is_not_asked_of_it(self):
    """Votes enough for a certificate, and memory for noisy images."""
    refusal = mock.patch.object(
      certify, "check_memory", side_effect=errors.InputError("no memory")
    )
    plan = asked.build(self._config(**{"certify.n": 1}), self.workdir)
    with refusal:
      checks.check(plan, ("attack", "train", "certify"))
    smoothing = {"certify.procedure": "smoothing"}
    with self.assertRaisesRegex(errors.InputError, "certify.n=1 cannot certify"):
      asked.build(self._config(**smoothing, **{"certify.n": 1}), self.workdir)
    plan = asked.build(self._config(**smoothing), self.workdir)
    with refusal, self.assertRaisesRegex(errors.InputError, "no memory"):
      checks.check(plan, ("attack", "train", "certify"))

  def test_one_of_another_kind(self):
    """An object with the contract's methods, which no file of the package knows."""

    @dataclasses.dataclass(frozen=True)
    class Certain(smoothed.Smoothing):
      """Votes whose radii are halved."""

      def certify(self, params, images, labels, key):
        predicted, radii = super().certify(params, images, labels, key)
        return predicted, 0.5 * radii

    def make(tools, options):
      del options
      return Certain(tools.model, tools.sampling)

    entry = kinds.Procedure("halved", make, "half of smoothing's radii", draws=True)
    kinds.PROCEDURES.add(entry)
    self.addCleanup(kinds.PROCEDURES.remove, entry.name)
    changes = {"certify.n": 100, "certify.alpha": 0.1, "sigma": 0.01}
    plans = [
      asked.build(self._config(**changes, **{"certify.procedure": name}), self.workdir)
      for name in ("smoothing", "halved")
    ]
    images, labels = (part[:3] for part in plans[0].splits.test)
    params = plans[0].model.init(jax.random.key(0), images.shape[1:])
    whole, half = (
      plan.certify.procedure.certify(params, images, labels, jax.random.key(1))
      for plan in plans
    )
    self.assertGreater(whole[1].max(), 0.0)
    np.testing.assert_array_equal(half[0], whole[0])
    np.testing.assert_array_equal(half[1], 0.5 * whole[1])
    with self.subTest("what its entry says of it is checked"):
      kinds.PROCEDURES.remove(entry.name)
      kinds.PROCEDURES.add(dataclasses.replace(entry, draws=False))
      with self.assertRaisesRegex(ValueError, "halved: draws=False in its entry alone"):
        asked.build(self._config(**{"certify.procedure": "halved"}), self.workdir)
    with self.subTest("ensembles are certified by smoothing alone"):
      kinds.PROCEDURES.remove(entry.name)
      kinds.PROCEDURES.add(entry)
      ensemble = {
        "certify.procedure": "halved",
        "train.ensemble.aggregation": "deep_partition",
      }
      with self.assertRaisesRegex(
        errors.InputError, "aggregation is deep_partition, which"
      ):
        asked.build(self._config(**ensemble), self.workdir)

  def test_files_of_smoothing_are_those_of_certify(self):
    settings = {"certify.procedure": "smoothing", "certify.n": 100, "certify.mode": "aca"}
    procedure = asked.build(self._config(**settings), self.workdir).certify.procedure
    self.assertFalse(procedure.has_radius)
    with mock.patch.object(certify, "certify_to_files") as to_files:
      procedure.certify_to_files(
        "params",
        ("images", "labels"),
        "indices",
        "key",
        "path",
        seed=3,
        stops_early=False,
      )
    (call,) = to_files.call_args_list
    self.assertEqual(
      call.args[1:], ("params", "images", "labels", "indices", "key", "path")
    )
    self.assertEqual((call.kwargs["seed"], call.kwargs["n"]), (3, 100))
    self.assertFalse(call.kwargs["stops_early"])

  def test_smoothing_is_one(self):
    config = self._config(**{"certify.procedure": "smoothing"})
    plan = asked.build(config, self.workdir)
    self.assertIsInstance(plan.certify.procedure, smoothed.Smoothing)
    self.assertTrue(kinds.PROCEDURES["smoothing"].draws)
    self.assertIn("sigma", plan.certificate_identity("clean", 0))
    self.assertEqual(
      dataclasses.asdict(plan.config.certify.procedure.options["exact_linear"])["norm"],
      "linf",
    )


if __name__ == "__main__":
  absltest.main()
