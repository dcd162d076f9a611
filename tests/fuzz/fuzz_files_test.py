"""Every file of a run damaged or exchanged: refused in one line, or the same results."""

import contextlib
import dataclasses
import io
import pathlib
import shutil

import asked
import damaged
import finished_run
import fuzzing
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from pacd_jax import errors
from pacd_jax.data import poison_file, sources
from pacd_jax.experiment import door, poison_command, stages
from pacd_jax.results import collect, pictures
from pacd_jax.runtime import processes, run_folder

_PLACES = st.floats(0.0, 1.0, exclude_max=True)  # Of a file among the others.


def _without_times(results):
  rows = [row | {"attack_seconds": None} for row in results["rows"]]
  return results | {"rows": rows}


class FilesTest(finished_run.FinishedRunTestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.plan = asked.build(finished_run.smoke(), cls.finished)
    cls.before = {
      path.relative_to(cls.finished): path.read_bytes()
      for path in sorted(cls.finished.rglob("*"))
      if path.is_file() and path.parent.name != "report" and path.name != ".lock"
    }
    cls.results = stages._results(cls.plan)
    cls.states = {}  # Of a stage, by step: those that the run saved, and the first.

  def setUp(self):
    super().setUp()
    self.copy_finished()
    folder = run_folder.RunFolder(self.workdir, self.plan.folder._identity)
    self.fresh = dataclasses.replace(self.plan, folder=folder)

  def is_one_line(self, error):
    self.assertLen(str(error).splitlines(), 1)
    self.assertLess(len(str(error)), 2100)

  @contextlib.contextmanager
  def damage(self, place, kind, other, names):
    """One of the files as damaged, mended at the end; an InputError is one line."""
    name = names[int(place * len(names))]
    alike = [  # Of other rows and victims.
      self.finished / each
      for each in sorted(self.before)
      if each.suffix == name.suffix and each.name.count(".") == name.name.count(".")
    ]
    damaged.apply(self.workdir / name, kind, alike[int(other * len(alike))])
    try:
      yield name
    except errors.InputError as error:
      self.is_one_line(error)
    finally:
      damaged.mend(self.workdir / name, self.before[name])

  def again(self):
    """What the run's command reports, and whether it has anything to make first."""
    plan = dataclasses.replace(self.fresh)
    with processes.held([plan.folder]):
      works = stages.check(plan, stages.NAMES)
      return (None if works else stages._results(plan)), works

  # --- a finished run -----------------------------------------------------------------

  def of_a_finished_run(self, place, kind, other):
    names = [each for each in self.before if "checkpoints" not in each.parts]
    with self.damage(place, kind, other, names) as name:
      found, works = self.again()
      if not works:
        time_is_lost = name.parent.name == "poison" and kind == "gone"
        same = _without_times if time_is_lost else dict
        self.assertEqual(same(found), same(self.results), name)
      else:
        self.goes_on(name)

  def goes_on(self, name):
    """What is missing is made again, from a copy: with the same results."""
    copy = self.temporary("copy")
    shutil.copytree(self.workdir, copy, symlinks=True)
    asked.run(finished_run.smoke(), copy, stages.NAMES[:-1])
    plan = asked.build(finished_run.smoke(), copy)
    found = stages._results(plan)
    self.assertEqual(_without_times(found), _without_times(self.results), name)

  test_a_finished_run, test_a_finished_run_more = fuzzing.tiers(
    of_a_finished_run, _PLACES, damaged.damage, _PLACES, few=15, many=700
  )

  @parameterized.parameters({"seed": 1}, {"attack.epsilon": 0.05}, {"sigma": 0.3})
  @pytest.mark.long
  def test_each_file_of_another_run(self, **changes):
    other = self.temporary("other")
    asked.run(finished_run.smoke(**changes), other)
    for name in self.before:
      if "checkpoints" in name.parts or not (other / name).exists():
        continue
      shutil.copyfile(other / name, self.workdir / name)
      try:
        found, works = self.again()
        if works:
          self.goes_on(name)
        else:
          self.assertEqual(found, self.results, name)
      except errors.InputError as error:
        self.is_one_line(error)
      damaged.mend(self.workdir / name, self.before[name])

  # --- checkpoints --------------------------------------------------------------------

  @classmethod
  def restored(cls, plan, stage):
    """The state of a stage's newest whole checkpoint, and its step."""
    if stage == "attack":
      make, like = plan.attack_checkpoints, plan.attack.first_state()
    else:
      make, like = plan.victim_checkpoints, plan.train.trainer.init(plan.victims()[1])
    with make() as checkpoints:
      state, step = checkpoints.restore(like)
    return jax.device_get(jax.tree.leaves(state)), step

  def of_a_checkpoint(self, stage, place, kind, other):
    parts = ("checkpoints", stage)
    names = [each for each in self.before if each.parts[:2] == parts]
    with self.damage(place, kind, other, names) as name:
      found, step = self.restored(dataclasses.replace(self.fresh), stage)
      whole = self.saved(stage)
      self.assertIn(step, whole, name)
      for one, expected in zip(found, whole[step], strict=True):
        np.testing.assert_array_equal(one, expected)

  def saved(self, stage):
    if stage in self.states:
      return self.states[stage]
    copy, found, step = self.temporary("states"), {}, None
    shutil.copytree(self.finished, copy)
    folder = run_folder.RunFolder(copy, self.plan.folder._identity)
    while step != 0:
      state, step = self.restored(dataclasses.replace(self.plan, folder=folder), stage)
      found[step] = state
      shutil.rmtree(copy / "checkpoints" / stage / str(step), ignore_errors=True)
    self.states[stage] = found
    return found

  test_a_checkpoint, test_a_checkpoint_more = (
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")(each)
    for each in fuzzing.tiers(
      of_a_checkpoint,
      st.sampled_from(("attack", "train")),
      _PLACES,
      damaged.damage,
      _PLACES,
      few=4,
      many=200,
    )
  )

  # --- files that are read by themselves ----------------------------------------------

  def of_collected_results(self, place, kind, other):
    names = [pathlib.Path("results.json"), pathlib.Path("config.json")]
    expected = collect.collect([self.finished])
    with self.damage(place, kind, other, names) as name:
      for line, intact in zip(collect.collect([self.workdir]), expected, strict=True):
        seed_is_lost = (
          {"seed": None} if name.name == "config.json" and line["seed"] is None else {}
        )
        of_run = {"run": line["run"]} | seed_is_lost
        self.assertEqual(line, intact | of_run)

  test_collected_results, test_collected_results_more = fuzzing.tiers(
    of_collected_results, _PLACES, damaged.damage, _PLACES, few=40, many=800
  )

  def of_a_loaded_run(self, kind, other):
    with self.damage(0.0, kind, other, [pathlib.Path("config.json")]):
      plan = door.load(self.workdir)
      self.assertEqual(plan.config, self.plan.config)

  test_a_loaded_run, test_a_loaded_run_more = fuzzing.tiers(
    of_a_loaded_run, damaged.damage, _PLACES, few=30, many=500
  )

  def of_a_log(self, kind, other):
    with self.damage(0.0, kind, other, [pathlib.Path("metrics.jsonl")]):
      pictures.attack_metrics(self.workdir / "metrics.jsonl")

  test_a_log, test_a_log_more = fuzzing.tiers(
    of_a_log, damaged.damage, _PLACES, few=30, many=500
  )

  def of_images_of_a_users_own(self, kind):
    path = self.workdir / "images.npz"
    images = np.arange(480, dtype=np.uint8).reshape(30, 4, 4, 1)
    np.savez(path, images=images, labels=np.arange(30) % 3)
    damaged.apply(path, kind)
    try:
      found = sources.npz(path)
      np.testing.assert_array_equal(found.train.images, images)
      np.testing.assert_array_equal(found.train.labels, np.arange(30) % 3)
    except errors.InputError as error:
      self.is_one_line(error)
    finally:
      damaged.mend(path, b"")

  test_images, test_images_more = fuzzing.tiers(
    of_images_of_a_users_own, damaged.damage, few=60, many=800
  )

  def of_a_poison_as_pngs(self, place, kind):
    folder = self.workdir / "pngs"
    if not folder.exists():
      poison = poison_file.load(self.workdir / "poison" / "pacd.npz")
      few = {
        name: getattr(poison, name)[:2]
        for name in (
          "images",
          "base_images",
          "labels",
          "base_labels",
          "indices",
          "inserted",
          "triggered",
        )
      }
      poison_file.save(self.workdir / "few.npz", poison._replace(**few))
      with contextlib.redirect_stdout(io.StringIO()):
        poison_command.main(["export", str(self.workdir / "few.npz"), str(folder)])
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    path = names[int(place * len(names))]
    contents, made = path.read_bytes(), self.workdir / "again.npz"
    made.unlink(missing_ok=True)
    damaged.apply(path, kind)
    wrong = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(wrong):
      status = poison_command.main(["import", str(folder), str(made)])
    damaged.mend(path, contents)
    if status:
      self.assertRegex(wrong.getvalue(), r"\Aerror: [^\n]+\n\Z")
    else:
      poison_file.load(made)

  test_a_poison_as_pngs, test_a_poison_as_pngs_more = fuzzing.tiers(
    of_a_poison_as_pngs, _PLACES, damaged.damage, few=40, many=800
  )


if __name__ == "__main__":
  absltest.main()
