"""Weight decay by cross-validation: folds, decays of single victims, and killed runs."""

import pathlib
import shutil
import tempfile

import asked
import finished_run
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl.testing import absltest, parameterized
from small_training import assert_close, make, of_victim, run, separable

from pacd_jax import errors, losses, train
from pacd_jax.data import training_sets
from pacd_jax.experiment import assembly, config, door, plan, schema, stages, weight_decay
from pacd_jax.runtime import run_folder

_DECAYS = (0.0, 0.1, 1.0)
_OPTIONS = {"rows": ("clean", "brightness"), "train.weight_decay_choices": (0.0, 30.0)}


def _optimizer_of(**fields):
  of_train = {f"train.{name}": value for name, value in fields.items()}
  options = schema.replaced(config.Config(), of_train | {"train.learning_rate": 0.05})
  return lambda num_steps: assembly._optimizer(options.train, None, num_steps)


def _victims(trainer, keys, decays=None):
  """As a run's are: `TrainPlan.first` and its trainer."""
  made = plan.TrainPlan(trainer, keys, 1, 0, 16, 1, None)
  return made.first(keys, decays)


class DecaysTest(parameterized.TestCase):
  @pytest.mark.long
  def test_each_victim_has_its_own_and_is_as_if_it_had_been_given(self):
    chosen = make(optimizer_of=_optimizer_of(weight_decay_choices=_DECAYS))[1]
    keys = train.victim_keys(jax.random.key(0), 1)[np.zeros(3, int)]
    state, _ = run(chosen, keys, 3, state=_victims(chosen, keys, np.array(_DECAYS)))
    given = make(optimizer_of=_optimizer_of(weight_decay=_DECAYS[2]))[1]
    alone = train.victim_keys(jax.random.key(0), 1)
    expected, _ = run(given, alone, 3, state=_victims(given, alone))
    assert_close(of_victim(state.params, 2), of_victim(expected.params, 0))

  def test_parameters_of_a_flat_loss_shrink_by_the_decay_alone(self):
    """theta_T = (1 - lr w)^T theta_0."""
    model, _ = make()
    flat = losses.standard(model.apply)._replace(
      criterion=lambda logits, labels: (0.0 * logits.sum(), {"accuracy": jnp.float32(0)})
    )
    optimizer_of = _optimizer_of(weight_decay_choices=_DECAYS)
    trainer = make(loss=flat, optimizer_of=optimizer_of, batch_size=20)[1]
    keys = train.victim_keys(jax.random.key(0), 3)
    first = _victims(trainer, keys, np.array(_DECAYS))
    before = np.asarray(first.params["Dense_0"]["kernel"])
    state, _ = run(trainer, keys, 2, state=first)
    scales = (1.0 - 0.05 * np.array(_DECAYS)) ** 6  # Three steps an epoch.
    after = state.params["Dense_0"]["kernel"]
    np.testing.assert_allclose(after, scales[:, None, None] * before, rtol=1e-5)

  @pytest.mark.long
  def test_the_norm_falls_with_the_decay(self):
    decays = np.array([0.0, 0.03, 0.1, 0.3, 1.0])
    trainer = make(optimizer_of=_optimizer_of(weight_decay_choices=tuple(decays)))[1]
    keys = train.victim_keys(jax.random.key(0), 1)[np.zeros(5, int)]
    state, _ = run(trainer, keys, 40, state=_victims(trainer, keys, decays))
    norms = jax.vmap(optax.tree.norm)(state.params)
    self.assertTrue((np.diff(norms) < 0).all(), norms)


class FoldsTest(absltest.TestCase):
  def test_each_image_that_is_present_is_left_out_once(self):
    whole = training_sets.whole(separable(33))
    whole = training_sets.keep(whole, np.arange(2, 33))
    sets, held = weight_decay.folds(whole, 0)
    self.assertLen(sets, 5)
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), whole.present)
    for rest, out in zip(sets, held, strict=True):
      self.assertIn(len(out), (6, 7))
      both = np.concatenate([rest.present, out])
      np.testing.assert_array_equal(np.sort(both), whole.present)
      np.testing.assert_array_equal(rest.present, np.sort(rest.present))
    other = weight_decay.folds(whole, 1)[1]
    self.assertNotEqual(held[0].tolist(), other[0].tolist())


@pytest.mark.long
class RunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_a_run_says_what_its_rows_chose_and_resumes_to_it(self):
    whole, broken = self.folder / "whole", self.folder / "broken"
    asked.run(finished_run.smoke(**_OPTIONS), whole)
    made, there = door.load(whole), run_folder.read_json(whole / "weight_decay.json")
    victims = jax.tree.map(np.asarray, stages.load_victims(made))
    for row in made.rows:
      record = there["rows"][row]
      means = np.mean(record["accuracies"], axis=1)
      self.assertGreater(np.abs(np.diff(means)), 0.01)  # The two differ.
      self.assertEqual(record["weight_decay"], (0.0, 30.0)[means.argmax()])
      self.assertEqual(record["trained_on"], made.defended.checksum(row))
    page = (whole / "report" / "index.html").read_text(encoding="utf-8")
    self.assertIn("weight decay chosen on each training set", page)
    self.assertRegex(page, "chosen on its own training set by the accuracy in 5-fold")
    # SIGKILL after the first row's choice and an epoch of the second's.
    shutil.copytree(whole, broken)
    del there["rows"]["brightness"]
    run_folder.write_json(broken / "weight_decay.json", there)
    for name in ("certificates", "checkpoints/train"):
      shutil.rmtree(broken / name)
    for epochs in (2, 3):
      shutil.rmtree(broken / "checkpoints" / "weight_decay" / "brightness" / str(epochs))
    asked.run(finished_run.smoke(**_OPTIONS), broken)
    found = jax.tree.map(np.asarray, stages.load_victims(door.load(broken)))
    jax.tree.map(np.testing.assert_array_equal, found, victims)
    self.assertEqual(finished_run.results(broken), finished_run.results(whole))
    # And damaged.
    path = broken / "weight_decay.json"
    path.write_text(path.read_text().replace("30.0", "3.0"))
    shutil.rmtree(broken / "certificates")
    with self.assertRaisesRegex(errors.InputError, "weight_decay.json .*delete it"):
      asked.run(finished_run.smoke(**_OPTIONS), broken)

  def test_a_row_that_is_smaller_than_a_batch_and_a_fold_is_refused(self):
    """Before any work, or once its defences have left so few."""
    small = {"data.num_train": 60, "train.batch_size": 49, "rows": ("clean",)}
    with self.assertRaisesRegex(errors.InputError, "train.batch_size is 49, .* at most 48"):
      asked.build(finished_run.smoke(**_OPTIONS | small), self.folder / "run")
    small = {"data.num_train": 100, "train.batch_size": 48, "rows": ("clean",)}
    small |= {"defense.chain": ("random_share",), "defense.random_share.share": 0.5}
    with self.assertRaisesRegex(errors.InputError, "clean, without a fold.* at most 4"):
      asked.run(finished_run.smoke(**_OPTIONS | small), self.folder / "run")


if __name__ == "__main__":
  absltest.main()
