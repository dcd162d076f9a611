"""`pacd evade` on a finished run: its numbers, and what it refuses."""

import contextlib
import dataclasses
import io
import pathlib
import shutil
from unittest import mock

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


def _made(run, name):
  """The only file of an attack."""
  (path,) = (run / "evasion").glob(f"{name}_????????.json")
  return run_folder.read_json(path)


def _gradients(apply, params, images):
  """Of every logit of every image in its pixels, float64 `[B, K, H, W, C]`."""
  of_one = jax.jacobian(lambda image: apply(params, image[None])[0])
  return np.asarray(jax.vmap(of_one)(images), np.float64)


def _distance_in_box(margin, step, image):
  """The least |delta| with margin <= step . delta and image - delta in [0, 1].

  Its delta is t step, cut to the box (the conditions of Karush, Kuhn and Tucker).
  """
  low, high = 0.0, 1e4
  for _ in range(60):
    t = (low + high) / 2.0
    delta = image - np.clip(image - t * step, 0.0, 1.0)
    low, high = (low, t) if step @ delta >= margin else (t, high)
  return np.linalg.norm(delta)


class EvadeTest(finished_run.FinishedRunTestCase):
  def test_base_classifiers_of_a_linear_network(self):
    """Distances in l2 are those of the hyperplanes, inside of the box."""
    run, num_right = self.copy_finished(), 0
    status, said, wrong = _call(run, "--rows=clean", "--epsilon=0,8", "--num_steps=10")
    self.assertEqual(status, 0, wrong)
    self.assertIn("they bound nothing here", said)
    made = _made(run, "pgd_l2_base")
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
        self.assertTrue(points["is_found"][n])
        if margins.min() <= 0.0:
          self.assertEqual(points["distance"][n], 0.0)
          continue
        num_right += 1
        image = np.asarray(images[n], np.float64).ravel()
        least = min(
          _distance_in_box(*each, image) for each in zip(margins, steps, strict=True)
        )
        self.assertGreater(points["distance"][n], least - 1e-4)
        self.assertLess(points["distance"][n], 1.4 * least + 8.0 / 2**11)
      clean = float((logits.argmax(1) == points["label"]).mean())
      self.assertEqual(each["robust_accuracy"][0], clean)
      self.assertEqual(each["clean_accuracy"], clean)
      self.assertAlmostEqual(each["mean_distortion"], np.mean(points["distance"]))
    self.assertGreater(num_right, 2)

  def test_smoothed_ones_beside_their_certificates(self):
    run = self.copy_finished()
    status, said, wrong = _call(run, "--smoothed", "--epsilon=0.1", "--rows=pacd", *_QUICK)
    self.assertEqual(status, 0, wrong)
    self.assertRegex(said, r"distances below a certified radius: \d+; confirmed .*: 0\n")
    self.assertRegex(said, r"data +seed +robust 0\.1 % +certified 0\.1 % +mean l2 +ACR\n")
    made = _made(run, "pgd_l2_smoothed")
    for each in made["victims"]:
      record = certificates.read(run / "certificates" / "pacd" / f"seed_{each['seed']}")
      right = record.predict == record.label
      self.assertAlmostEqual(each["acr"], np.where(right, record.radius, 0.0).mean())
      certified = (right & (record.radius > 0.1)).mean()
      self.assertEqual(each["certified_accuracy"], [certified])

  @pytest.mark.long
  def test_a_file_for_each_choice_of_settings_and_all_rows_of_one_in_it(self):
    run, of_targets = self.copy_finished(), "--targeted=1"
    base = "--epsilon=0.1", "--num_steps=2", "--num_points=2"
    for arguments in (("--rows=pacd",), ("--rows=clean",), ("--rows=pacd",)):
      self.assertEqual(_call(run, *base, *arguments)[0], 0)
    made = _made(run, "pgd_l2_base")
    names = [(each["row"], each["seed"]) for each in made["victims"]]
    self.assertEqual(names, [("clean", 0), ("clean", 1), ("pacd", 0), ("pacd", 1)])
    self.assertEqual(_call(run, *base, "--rows=clean", "--num_steps=3")[0], 0)
    self.assertLen(list((run / "evasion").iterdir()), 2)
    _, said, _ = _call(run, *base, "--rows=clean", of_targets)
    self.assertRegex(said, r"seed +not class 1 0\.1 % +certified")
    for each in _made(run, "pgd_l2_base_to_1")["victims"]:
      self.assertIsNone(each["clean_accuracy"])

  def test_the_epsilon_of_the_run_is_in_its_own_norm(self):
    run = self.copy_finished()
    config = run_folder.read_json(run / "config.json")
    config["attack"]["norm"] = "l2"
    run_folder.write_json(run / "config.json", config)
    status, said, wrong = _call(run, "--norm=linf")
    self.assertEqual((status, said), (2, ""))
    self.assertRegex(wrong, "^error: --norm=linf: .* is in l2, .*: give --epsilon=0.1")

  def test_victims_that_are_not_for_it(self):
    run = self.copy_finished()
    config = run_folder.read_json(run / "config.json")
    config["certify"]["dtype"] = "bfloat16"
    run_folder.write_json(run / "config.json", config)
    for arguments, words in (
      (("--smoothed",), "in bfloat16, and attacks are on that in float32: leave it out"),
      (("--rows=pacd",), "pacd, seed 1, is not certified: run --stage=certify first"),
    ):
      for path in (run / "certificates" / "pacd").glob("seed_1*"):
        path.unlink()
      status, said, wrong = _call(run, *arguments)
      self.assertEqual((status, said), (2, ""))
      self.assertRegex(wrong, f"^error: .*{words}\n$")
    plan = dataclasses.replace(door.load(run), ensemble=mock.Mock(num_models=7))
    with mock.patch.object(door, "load", return_value=plan):
      _, _, wrong = _call(run)
    self.assertRegex(wrong, "^error: .* victims are 7 networks that vote")

  @pytest.mark.long
  def test_all_attacks_and_a_target(self):
    run = self.copy_finished()
    for attack, norm in (("fgsm", "linf"), ("cw", "l2"), ("pgd", "linf")):
      steps = () if attack == "fgsm" else ("--num_steps=3",)
      given = f"--attack={attack}", f"--norm={norm}", "--targeted=1", "--smoothed", *steps
      status, said, wrong = _call(run, *given, "--rows=clean", "--num_points=2")
      self.assertEqual(status, 0, wrong)
      made = _made(run, f"{attack}_{norm}_smoothed_to_1")
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

  def test_robust_accuracy_does_not_depend_on_how_many_epsilons_there_are(self):
    """Images on the hyperplane: half of the votes on the images as they are go wrong."""
    images = jnp.asarray(linear_classifier.images(np.full(40, 0.02)))
    labels, places = np.ones(40, np.int64), np.arange(40)
    record = certificates.Record(
      idx=places,
      label=labels,
      predict=labels,
      radius=np.zeros(40),
      correct=labels > 0,
      counts=np.zeros((40, 2), np.int64),
      sidecar={"alpha": 0.001, "mode": "fixed"},
    )
    attack = evasion_report.Attack(
      evade=evasion.FastGradient("l2"),
      search=distortion.Search(num_votes=1, max_radius=1e-6, num_halvings=0),
      sigma=0.1,
      epsilons=(0.0,),
      target=None,
    )
    given = linear_classifier.apply, linear_classifier.PARAMS
    points = evasion_report.Points(images, labels, places)
    one, six = (
      evasion_report.measure(
        attack._replace(epsilons=epsilons), *given, points, record, jax.random.key(0)
      )
      for epsilons in ((0.0,), (0.0,) * 6)
    )
    self.assertEqual(one["robust_accuracy"], six["robust_accuracy"][:1])
    self.assertEqual(one["robust_accuracy"], [one["clean_accuracy"]])
    self.assertBetween(one["clean_accuracy"], 0.3, 0.9)

  def test_points_are_attacked_in_parts(self):
    images = linear_classifier.images(np.linspace(0.01, 0.3, 7))
    labels, places = np.ones(7, np.int64), np.arange(7)
    points = evasion_report.Points(jnp.asarray(images), labels, places)
    record = certificates.Record(
      *(places, labels, labels, np.zeros(7), labels > 0, np.zeros((7, 2), np.int64)),
      sidecar={"alpha": 0.001, "mode": "fixed"},
    )
    attack = evasion_report.Attack(
      evade=evasion.FastGradient("l2"),
      search=distortion.Search(1, 1, max_radius=1.0, num_halvings=4),
      sigma=0.0,
      epsilons=(),
      target=None,
    )
    given = linear_classifier.apply, linear_classifier.PARAMS, points, record
    whole = evasion_report.measure(attack, *given, jax.random.key(0))
    with mock.patch.object(evasion_report, "_POINTS_AT_ONCE", 4):
      parts = evasion_report.measure(attack, *given, jax.random.key(0))
    self.assertEqual(whole["points"], parts["points"])

  @parameterized.parameters(((600, 400), 0), ((400, 600), 0), ((400, 600, 0), 0))
  def test_p_value_is_scipys(self, votes, predicted):
    own, most = votes[0], max(votes[1:])
    one = stats.binomtest(most, own + most, alternative="greater").pvalue
    expected = min(1.0, (len(votes) - 1) * one)
    found = evasion_report.p_value_against(np.array(votes), predicted)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


if __name__ == "__main__":
  absltest.main()
