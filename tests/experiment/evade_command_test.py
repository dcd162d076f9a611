"""`pacd evade` on a finished run: its numbers, and what it refuses."""

import contextlib
import io
import pathlib
import shutil

import finished_run
import jax
import jax.numpy as jnp
import linear_classifier
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from scipy import stats

from pacd_jax import evasion
from pacd_jax.certification import certificates, distortion
from pacd_jax.data import arrays
from pacd_jax.experiment import door, evade_command, evasion_report, stages
from pacd_jax.runtime import run_folder

_QUICK = ("--votes=20", "--num_steps=2")


def _call(*arguments):
  """The exit status, and what it says."""
  said, wrong = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
    status = evade_command.main([str(each) for each in arguments])
  return status, said.getvalue(), wrong.getvalue()


def _gradients(apply, params, images):
  """Of every logit of every image in its pixels, float64 `[B, K, H, W, C]`."""
  of_one = jax.jacobian(lambda image: apply(params, image[None])[0])
  return np.asarray(jax.vmap(of_one)(images), np.float64)


class EvadeTest(finished_run.FinishedRunTestCase):
  def test_base_classifiers_of_a_linear_network(self):
    """Distances in l2 are those of the hyperplanes, as far as images stay in the box."""
    run = self.copy_finished()
    status, said, wrong = _call(run, "--rows=clean", "--epsilon=0,8", "--num_steps=10")
    self.assertEqual(status, 0, wrong)
    self.assertIn("they bound nothing here", said)
    made = run_folder.read_json(run / "evasion" / "pgd_l2_base.json")
    self.assertEqual([each["seed"] for each in made["victims"]], [0, 1])
    plan = door.load(run)
    params = stages.load_victims(plan)
    for each in made["victims"]:
      points = each["points"]
      images = arrays.to_float(plan.certify.dataset.images[points["idx"]])
      apply, of_one = plan.model.apply, params["clean", each["seed"]]
      logits = np.asarray(apply(of_one, images), np.float64)
      gradients = _gradients(apply, of_one, images).reshape(*logits.shape, -1)
      for n, label in enumerate(points["label"]):
        margins = logits[n, label] - np.delete(logits[n], label)
        steps = gradients[n, label] - np.delete(gradients[n], label, axis=0)
        least = (margins / np.linalg.norm(steps, axis=1)).min()
        if least <= 0.0:
          self.assertEqual(points["distance"][n], 0.0)
        else:
          self.assertGreater(points["distance"][n], least - 1e-4)
      clean = float((logits.argmax(1) == points["label"]).mean())
      self.assertEqual(each["robust_accuracy"][0], clean)
      self.assertEqual(each["clean_accuracy"], clean)
      self.assertAlmostEqual(each["mean_distortion"], np.mean(points["distance"]))

  def test_smoothed_ones_beside_their_certificates(self):
    run = self.copy_finished()
    status, said, wrong = _call(run, "--smoothed", "--epsilon=0.1", "--rows=pacd", *_QUICK)
    self.assertEqual(status, 0, wrong)
    self.assertRegex(said, r"distances below a certified radius: \d+; confirmed .*: 0\n")
    self.assertRegex(said, r"data +seed +robust 0\.1 % +certified 0\.1 % +mean l2 +ACR\n")
    made = run_folder.read_json(run / "evasion" / "pgd_l2_smoothed.json")
    for each in made["victims"]:
      record = certificates.read(run / "certificates" / "pacd" / f"seed_{each['seed']}")
      right = record.predict == record.label
      self.assertAlmostEqual(each["acr"], np.where(right, record.radius, 0.0).mean())
      certified = (right & (record.radius > 0.1)).mean()
      self.assertEqual(each["certified_accuracy"], [certified])

  @pytest.mark.long
  def test_all_attacks_and_a_target(self):
    run = self.copy_finished()
    for attack, norm in (("fgsm", "linf"), ("cw", "l2"), ("pgd", "linf")):
      steps = () if attack == "fgsm" else ("--num_steps=3",)
      given = f"--attack={attack}", f"--norm={norm}", "--targeted=1", "--smoothed", *steps
      status, said, wrong = _call(run, *given, "--rows=clean", "--num_points=2")
      self.assertEqual(status, 0, wrong)
      made = run_folder.read_json(run / "evasion" / f"{attack}_{norm}_smoothed_to_1.json")
      self.assertLen(made["victims"][0]["points"]["idx"], 2)
      self.assertIn("towards class 1, 2 points", said)

  def test_what_is_refused(self):
    trained = self.copy_finished()
    shutil.rmtree(trained / "checkpoints" / "train")
    for run, arguments, words in (
      ("/none", (), "/none/config.json is no run's config"),
      (trained, (), "has no victims: run --stage=train first"),
      (
        self.finished,
        ("--epsilon=-1",),
        "--epsilon=-1: use image units, .* 8 in l2",
      ),
      (self.finished, ("--epsilon=a",), "--epsilon=a: use image units"),
      (self.finished, ("--norm=linf", "--epsilon=1.5"), "from 0 to 1 in linf"),
      (
        self.finished,
        ("--num_steps=0",),
        "--num_steps=0: it must be a whole number",
      ),
      (self.finished, ("--num_steps=x",), "--num_steps=x: it must be a whole number"),
      (self.finished, ("--confidence=1",), "--confidence is not for --attack=pgd"),
      (self.finished, ("--attack=cw", "--norm=linf"), "--norm=linf: cw is for l2"),
      (self.finished, ("--attack=x",), "invalid choice: 'x'"),
      (self.finished, ("--targeted=10",), "--targeted=10: digits has classes 0 to 9"),
      (self.finished, ("--targeted=8",), "all certified points are of that class"),
      (self.finished, ("--rows=clean,none",), "no row 'none': .* has clean, classwise"),
      (self.finished, ("--votes=0",), "--votes=0: use a whole number from 1"),
      (self.finished, ("--num_points=-1",), "--num_points=-1: use 0 or more"),
    ):
      status, said, wrong = _call(run, *arguments)
      self.assertEqual((status, said), (2, ""), words)
      self.assertRegex(wrong, f"^error: .*{words}")
      self.assertLen(wrong.splitlines(), 1)
    self.assertFalse((pathlib.Path(self.finished) / "evasion").exists())


class ReportTest(parameterized.TestCase):
  def test_a_certificate_that_is_wrong_is_contradicted(self):
    """Images 0.2 from the hyperplane: certified to 0.1 it holds, to 0.3 it does not."""
    images = jnp.asarray(linear_classifier.images([0.2, 0.2]))
    record = certificates.Record(
      idx=np.array([4, 7]),
      label=np.array([1, 1]),
      predict=np.array([1, 1]),
      radius=np.array([0.1, 0.3]),
      correct=np.array([True, True]),
      counts=np.zeros((2, 2), np.int64),
      sidecar={"alpha": 0.001, "mode": "fixed"},
    )
    attack = evasion_report.Attack(
      evade=evasion.ProjectedGradient(num_steps=2),
      search=distortion.Search(num_votes=200, max_radius=1.0, num_halvings=4),
      sigma=0.1,
      epsilons=(0.25,),
      target=None,
      num_confirming=2000,
    )
    measured = evasion_report.measure(
      attack,
      linear_classifier.apply,
      linear_classifier.PARAMS,
      evasion_report.Points(images, record.label, np.array([0, 1])),
      record,
      jax.random.key(0),
    )
    (found,) = measured["contradictions"]
    self.assertEqual((found["idx"], found["certified_radius"]), (7, 0.3))
    self.assertTrue(found["confirmed"])
    self.assertEqual(measured["robust_accuracy"], [0.0])
    self.assertEqual(measured["certified_accuracy"], [0.5])
    np.testing.assert_allclose(measured["mean_distortion"], 0.2, atol=0.07)

  @parameterized.parameters(((600, 400), 0), ((400, 600), 0), ((400, 600, 0), 0))
  def test_p_value_is_scipys(self, votes, predicted):
    own, most = votes[0], max(votes[1:])
    one = stats.binomtest(most, own + most, alternative="greater").pvalue
    expected = min(1.0, (len(votes) - 1) * one)
    found = evasion_report.p_value_against(np.array(votes), predicted)
    np.testing.assert_allclose(found, expected, rtol=1e-9)

  def test_votes_are_of_the_smoothed_classifier(self):
    """P = Phi(distance / sigma) for the linear classifier."""
    (image,) = linear_classifier.images([0.1])
    votes = evasion_report.num_votes(
      linear_classifier.apply,
      linear_classifier.PARAMS,
      jnp.asarray(image),
      jax.random.key(1),
      sigma=0.2,
      num=20_000,
    )
    self.assertEqual(int(votes.sum()), 20_000)
    np.testing.assert_allclose(votes[1] / 20_000, stats.norm.cdf(0.5), atol=0.015)


if __name__ == "__main__":
  absltest.main()
