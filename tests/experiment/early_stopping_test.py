"""Early stopping: the estimate of the ACR, what is kept, and runs that were killed."""

import pathlib
import shutil
import tempfile

import asked
import finished_run
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from absl.testing import absltest, parameterized

from pacd_jax import train
from pacd_jax.certification import confidence
from pacd_jax.experiment import door, early_stopping, stages
from pacd_jax.experiment.entries import networks
from pacd_jax.runtime import metrics, sharding

_OPTIONS = {
  "rows": ("clean", "brightness"),
  "train.stopping.every": 2,
  "train.stopping.n": 50,
}


def _state(acrs, number):
  """Victims whose only parameter is the number of their epoch."""
  params = {"w": jnp.full((len(acrs), 2), float(number))}
  return train.TrainState(jnp.full(len(acrs), number, jnp.int32), params, ())


class KeptTest(absltest.TestCase):
  def test_the_first_of_the_best_epochs_is_kept(self):
    acrs = np.array([[0.1, 0.0], [0.3, 0.2], [0.3, 0.1], [0.2, 0.4]], np.float32)
    kept = early_stopping.first(_state(acrs[0], 0))
    for number, acr in enumerate(acrs, start=1):
      kept = early_stopping.judged(kept, _state(acr, number), jnp.asarray(acr))
    np.testing.assert_array_equal(kept.params["w"][:, 0], [2, 4])
    np.testing.assert_array_equal(kept.acr, acrs.max(axis=0))
    np.testing.assert_array_equal(kept.state.params["w"][:, 0], [4, 4])

  def test_every_second_epoch_is_judged_and_the_last(self):
    judged = []

    def acr(params):
      judged.append(int(params["w"][0, 0]))
      return np.zeros(1, np.float32)

    stopping = early_stopping.Stopping(2, 5, acr)
    kept = early_stopping.first(_state([0.0], 0))
    for number in range(5):
      kept, values = stopping.epoch(
        lambda state, after: (_state([0.0], after), {}), kept, number, (number + 1,)
      )
      self.assertEqual(early_stopping.METRIC in values, number in (1, 3, 4))
    self.assertEqual(judged, [2, 4, 5])
    self.assertEqual(float(kept.params["w"][0, 0]), 2)  # The first, as none is better.

  def test_a_log_says_what_was_kept_unless_it_lacks_an_epoch(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    path = pathlib.Path(folder, "metrics.jsonl")
    log, stopping = metrics.MetricsFile(path), early_stopping.Stopping(2, 5, None)
    for step, acrs in ((1, [0.1, 0.2]), (3, [0.3, 0.2]), (4, [0.2, 0.1])):
      self.assertEqual(stopping.facts(path, "clean"), "")
      log.write("train", step, {"clean/trusted_acr": acrs})
    self.assertIn("after 4, 2 of 5 epochs", stopping.facts(path, "clean"))
    self.assertEqual(stopping.facts(path, "pacd"), "")


class AcrTest(parameterized.TestCase):
  @parameterized.parameters(1, 3)
  def test_is_that_of_votes_of_a_linear_classifier(self, num_devices):
    """Of each victim; p_A = Phi(margin / sigma), and expected votes have its bound."""
    model = networks.make("linear", num_classes=2, image_shape=(2, 2, 1))
    init = model.init(jax.random.key(0), (2, 2, 1))
    directions = np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [-1.0, 0, 0, 0]])
    kernels = np.stack([0 * directions, directions], axis=-1)
    params = jax.tree.map(lambda leaf: jnp.zeros((3, *leaf.shape)), init)
    params["Dense_0"]["kernel"] = jnp.asarray(kernels, jnp.float32)
    images = np.random.default_rng(0).uniform(0.1, 0.9, (5, 2, 2, 1)).astype(np.float32)
    sigma, n, alpha = 0.5, 4000, 0.001
    shared = dict(sigma=sigma, n=n, alpha=alpha, mesh=sharding.mesh(num_devices))
    acr = early_stopping.make_acr(
      model.apply, images, np.ones(5, np.int32), jax.random.key(1), **shared
    )
    found = acr(params)
    np.testing.assert_array_equal(found, acr(params))  # The noise is fixed.
    p = scipy.special.ndtr(images.reshape(5, 4) @ directions.T / sigma)
    expected = np.maximum(confidence.radius(n * p, n, sigma=sigma, alpha=alpha), 0.0)
    np.testing.assert_allclose(found, expected.mean(axis=0), atol=0.02)
    self.assertEqual(found[2], 0.0)


def _params(workdir):
  return jax.tree.map(np.asarray, stages.load_victims(door.load(workdir)))


class RunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())

  @pytest.mark.long
  def test_a_run_keeps_each_victims_best_epoch_and_resumes_to_it(self):
    workdir = pathlib.Path(self.folder, "run")
    asked.run(finished_run.smoke(**_OPTIONS), workdir)
    log, plan = metrics.MetricsFile(workdir / "metrics.jsonl"), door.load(workdir)
    victims = _params(workdir)
    for row in plan.rows:
      judged = log.values("train", f"{row}/{early_stopping.METRIC}")
      self.assertEqual(list(judged), [1, 2])
      best = np.max(list(judged.values()), axis=0)
      for seed, of_log in enumerate(best):
        params = jax.tree.map(lambda leaf: leaf[None], victims[row, seed])
        np.testing.assert_allclose(plan.stopping.acr(params), [of_log], atol=1e-6)
    page = (workdir / "report" / "index.html").read_text(encoding="utf-8")
    self.assertIn("early stopping by the ACR on trusted images", page)
    self.assertRegex(page, "those after [23], [23] of 3 epochs")
    before = finished_run.results(workdir)
    for lost in (3, 2):  # SIGKILL after an epoch, and the same command again.
      copy = pathlib.Path(shutil.copytree(workdir, pathlib.Path(self.folder, str(lost))))
      shutil.rmtree(copy / "certificates")
      for epochs in range(lost, 4):
        shutil.rmtree(copy / "checkpoints" / "train" / str(epochs), ignore_errors=True)
      asked.run(finished_run.smoke(**_OPTIONS), copy)
      jax.tree.map(np.testing.assert_array_equal, _params(copy), victims)
      self.assertEqual(finished_run.results(copy), before)

  @pytest.mark.long
  def test_it_begins_with_any_epoch_and_changes_no_victim(self):
    """With `every` above all epochs, the last alone is judged, and it is kept."""
    found = []
    for every in (0, 100):
      workdir = pathlib.Path(self.folder, str(every))
      config = finished_run.smoke(**_OPTIONS | {"train.stopping.every": every})
      asked.run(config, workdir, ("attack", "train"))
      found.append(_params(workdir))
    jax.tree.map(np.testing.assert_array_equal, *found)


if __name__ == "__main__":
  absltest.main()
