"""A row whose attacker wants a label of test images: what a run certifies and reports."""

import contextlib
import dataclasses
import pathlib
import shutil
import tempfile
from unittest import mock

import asked
import finished_run
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.certification import certificates, certify
from pacd_jax.data import arrays, poison_file
from pacd_jax.experiment import door, fields, kinds, stages, triggers
from pacd_jax.results import collect
from pacd_jax.runtime import processes, run_folder


@dataclasses.dataclass(frozen=True)
class Mark:
  level: float = fields.field(1.0, fields.interval("[0, 1]"), "Of the first pixels.")
  size: int = fields.field(2, fields.count(), "Pixels on a side.")


def _make(options, image_shape):
  del image_shape
  return lambda images: images.at[:, : options.size, : options.size].set(options.level)


def _check(options, image_shape):
  if options.size > image_shape[0]:
    raise errors.InputError(f"the mark has {options.size} pixels: use fewer")


def _marked(tools, options):
  """A quarter of class 0 with the mark, as the target class's."""
  indices = np.flatnonzero(tools.splits.train.labels == 0)[::4]
  trigger = triggers.make("mark", Mark(), tools.splits.train.images.shape[1:])
  clean = tools.splits.train.images[indices]
  return kinds.Poisoned(
    arrays.to_float(triggers.put_on(trigger, clean)),
    labels=np.full(len(indices), tools.target_class),
    indices=indices,
    triggered=np.ones(len(indices), bool),
    goal=types.Goal(tools.target_class, trigger=triggers.to_text("mark", Mark())),
  )


def _wanted(tools, options):
  """Nothing changed; two images of other classes are wanted."""
  images = tools.splits.train.images[tools.poisoned]
  points = np.flatnonzero(tools.splits.test.labels != tools.target_class)[:2]
  return kinds.Poisoned(
    arrays.to_float(images), goal=types.Goal(tools.target_class, tuple(points))
  )


_ENTRIES = (
  (kinds.TRIGGERS, kinds.Trigger("mark", _make, "a square.", Mark, _check)),
  (kinds.ROWS, kinds.Row("marked", _marked, "with a mark.", is_bounded=False)),
  (kinds.ROWS, kinds.Row("wanted", _wanted, "as they are.")),
)


@contextlib.contextmanager
def added():
  with contextlib.ExitStack() as stack:
    for registry, entry in _ENTRIES:
      registry.add(entry)
      stack.callback(registry.remove, entry.name)
    yield


def _columns(path):
  return [line.split("\t")[:5] for line in path.read_text().splitlines()]


class TriggersTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(added())

  def test_comes_back_as_text(self):
    text = triggers.to_text("mark", Mark(level=0.5, size=1))
    images = np.full((3, 4, 5, 2), 7, np.uint8)
    found = triggers.put_on(triggers.of_text(text, (4, 5, 2)), images)
    self.assertEqual(triggers.name_of(text), "mark")
    np.testing.assert_array_equal(found[:, 0, 0], 128)
    np.testing.assert_array_equal((found != images).sum(), 6)

  @parameterized.parameters(
    ("nobody's", {}, 'trigger is "nobody\'s", none of .*mark'),
    ("mark", {"level": 0.5}, "give level, size"),
    ("mark", {"level": 2.0, "size": 1}, "has level 2.0: it must be in .0, 1."),
    ("mark", {"level": 1.0, "size": 9}, "the mark has 9 pixels: use fewer"),
  )
  def test_what_is_no_trigger(self, name, options, message):
    text = triggers.json.dumps({"name": name, "options": options})
    with self.assertRaisesRegex(errors.InputError, message):
      triggers.of_text(text, (4, 4, 1))


class GoalsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    with contextlib.ExitStack() as stack:
      stack.enter_context(added())
      folder = stack.enter_context(tempfile.TemporaryDirectory())
      cls.finished = pathlib.Path(folder, "run")
      cls.table = asked.run(cls.config(), cls.finished)
      cls.addClassCleanup(stack.pop_all().close)
    cls.plan = door.load(cls.finished)

  @staticmethod
  def config(**changes):
    return finished_run.smoke(rows=("clean", "marked", "wanted"), **changes)

  def copied(self):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    return pathlib.Path(shutil.copytree(self.finished, pathlib.Path(folder, "run")))

  def row(self, name):
    rows = run_folder.read_json(self.finished / "results.json")["rows"]
    return next(row for row in rows if row["data"] == name)

  def record(self, row, folder, seed=0):
    return certificates.read(self.finished / "certificates" / row / folder / f"seed_{seed}")

  def test_the_numbers_are_those_of_the_victims(self):
    plan, test = self.plan, self.plan.splits.test
    others = test.labels != 8
    before = test.images[others]
    after = before.copy()
    after[:, :2, :2] = 255
    found = self.row("marked")["goal"]
    self.assertEqual((found["label"], found["trigger"]), (8, "mark"))
    self.assertEqual(found["num_points"], others.sum())
    for seed, params in (
      (seed, params)
      for (row, seed), params in stages.load_victims(plan).items()
      if row == "marked"
    ):
      for images, given in ((after, found), (before, found["untriggered"])):
        logits = plan.model.apply(params, arrays.to_float(images))
        predicted = np.asarray(logits).argmax(axis=-1)
        self.assertAlmostEqual(given["success"][seed], (predicted == 8).mean())
        right = predicted == test.labels[others]
        self.assertAlmostEqual(given["accuracy"][seed], right.mean())

  def test_certificates_are_of_the_triggered_images(self):
    """And of the same images without, under the same noise."""
    plan, record = self.plan, self.record("marked", "goal")
    self.assertLen(record.idx, len(plan.certify.indices))
    self.assertNotIn(8, record.label)
    np.testing.assert_array_equal(record.label, plan.splits.test.labels[record.idx])
    images = plan.splits.test.images.copy()
    params = stages.load_victims(plan)["marked", 0]
    for folder in ("goal_untriggered", "goal"):
      with tempfile.TemporaryDirectory() as temporary:
        path = pathlib.Path(temporary, "seed_0")
        certify.certify_to_files(
          plan.model.apply,
          params,
          images,
          plan.splits.test.labels,
          record.idx,
          plan.certify_key(0),
          path,
          seed=0,
          **plan.certify.settings._asdict(),
        )
        expected = certificates.read(path)
      found = self.record("marked", folder)
      np.testing.assert_array_equal(found.counts, expected.counts)
      np.testing.assert_array_equal(found.radius, expected.radius)
      images[:, :2, :2] = 255

  def test_results_sum_up_the_certificates(self):
    found = self.row("marked")["goal"]
    for folder, given in (("goal", found), ("goal_untriggered", found["untriggered"])):
      for seed in range(2):
        record = self.record("marked", folder, seed)
        got, right = record.predict == 8, record.predict == record.label
        mean = (record.radius * got).sum() / len(got)
        self.assertAlmostEqual(given["certified_success"][seed], mean)
        self.assertAlmostEqual(given["acr"][seed], (record.radius * right).mean())

  def test_chosen_points_have_one_set_of_files(self):
    test = self.plan.splits.test
    expected = np.flatnonzero(test.labels != 8)[:2]
    np.testing.assert_array_equal(self.record("wanted", "goal").idx, expected)
    self.assertFalse((self.finished / "certificates/wanted/goal_untriggered").exists())
    self.assertIsNone(self.row("wanted")["goal"]["untriggered"])

  def test_clean_victims_are_the_control_of_triggered_images(self):
    """With the trigger: the success that it has without any poison."""
    plan, test = self.plan, self.plan.splits.test
    others = test.labels != 8
    images = test.images[others]
    images[:, :2, :2] = 255
    found = self.row("marked")["goal"]["control"]
    for seed in range(2):
      logits = plan.model.apply(
        stages.load_victims(plan)["clean", seed], arrays.to_float(images)
      )
      predicted = np.asarray(logits).argmax(axis=-1)
      self.assertAlmostEqual(found["success"][seed], (predicted == 8).mean())
      own, control = (
        self.record(row, folder, seed)
        for row, folder in (("marked", "goal"), ("clean", "control/marked"))
      )
      for field in ("idx", "label"):
        np.testing.assert_array_equal(getattr(own, field), getattr(control, field))
      self.assertEqual(own.sidecar["key"], control.sidecar["key"])
      self.assertTrue(control.sidecar["triggered"])
      right = control.predict == control.label
      self.assertAlmostEqual(found["acr"][seed], (control.radius * right).mean())

  def test_clean_victims_are_the_control_of_chosen_points(self):
    """Those of any row, whether its entry is said to be targeted or not."""
    control, own = self.record("clean", "goal"), self.record("wanted", "goal")
    np.testing.assert_array_equal(control.idx, own.idx)
    self.assertEqual(self.row("clean")["goal"]["label"], 8)
    self.assertIsNone(self.row("wanted")["goal"]["control"])
    folders = (self.finished / "certificates" / "clean" / "control").iterdir()
    self.assertEqual([folder.name for folder in folders], ["marked"])

  @pytest.mark.long
  def test_given_poisons_have_the_same_controls(self):
    with tempfile.TemporaryDirectory() as temporary:
      config = finished_run.smoke(rows=("clean", "one", "other"))
      config.poisons.one = str(self.finished / "poison" / "wanted.npz")
      config.poisons.other = str(self.finished / "poison" / "marked.npz")
      asked.run(config, temporary)
      folder = pathlib.Path(temporary, "certificates", "clean")
      for name, same in (("goal", "goal"), ("control/other", "control/marked")):
        np.testing.assert_array_equal(
          certificates.read(folder / name / "seed_0").counts,
          self.record("clean", same).counts,
        )

  def test_the_poison_says_what_carries_the_trigger(self):
    poison = poison_file.load(self.finished / "poison" / "marked.npz")
    self.assertTrue(poison.triggered.all())
    self.assertEqual((poison.epsilon, poison.goal.label), (1.0, 8))
    self.assertIn("with the trigger", self.row("marked")["words"])

  def test_processes_exchange_numbers_alone(self):
    """Those of several take what the first one made; text goes by another way."""

    def broadcast(tree):
      for leaf in jax.tree.leaves(tree):
        self.assertIn(np.asarray(leaf).dtype.kind, "biuf")
      return tree

    with (
      tempfile.TemporaryDirectory() as temporary,
      mock.patch.object(processes, "from_first", side_effect=broadcast) as exchanged,
    ):
      asked.run(self.config(), temporary, ("attack",))
      self.assertEqual(exchanged.call_count, 2)
      for row in ("marked", "wanted"):
        one, same = (
          poison_file.load(pathlib.Path(folder, "poison", f"{row}.npz"))
          for folder in (temporary, self.finished)
        )
        self.assertEqual(one.goal, same.goal)

  def test_the_table_the_page_and_collect_show_them(self):
    lines = self.table.split("its radius")[1].splitlines()[2:7]
    self.assertEqual(
      [line[:24].split("  ")[0] for line in lines],
      ["clean", "marked", "marked, no trigger", "marked, clean victims", "wanted"],
    )
    control = self.row("marked")["goal"]["control"]
    success = f"{100 * control['success_mean']:.1f}"
    self.assertEqual(lines[3].split()[3:5], ["8", success])
    self.assertIn("clean victims: those of clean data", self.table)
    self.assertLess(max(map(len, self.table.splitlines())), 90)
    page = (self.finished / "report" / "index.html").read_text()
    self.assertIn("Test images that attackers want", page)
    self.assertTrue((self.finished / "report" / "triggered_marked.png").exists())
    lines = {line["data"]: line for line in collect.collect([self.finished])}
    self.assertEqual(lines["marked"]["goal_trigger"], "mark")
    self.assertEqual(
      lines["marked"]["goal_success_mean"], self.row("marked")["goal"]["success_mean"]
    )
    self.assertEqual(lines["marked"]["goal_control_acr_mean"], control["acr_mean"])
    self.assertIsNone(lines["clean"]["goal_control_acr_mean"])

  def test_lost_and_cut_files_are_made_again(self):
    workdir = self.copied()
    folder = workdir / "certificates" / "marked"
    before = {path: _columns(path) for path in folder.parent.rglob("seed_?.tsv")}
    self.assertLen(before, 16)
    shutil.rmtree(folder.parent / "clean" / "control")
    for path in (folder / "goal").glob("seed_1.*"):
      path.unlink()
    cut = folder / "goal_untriggered" / "seed_0.tsv"
    cut.write_text(cut.read_text()[:150])
    with self.assertRaisesRegex(errors.InputError, "clean is incomplete: run --stage"):
      asked.run(self.config(), workdir, ("report",))
    asked.run(self.config(), workdir, ("certify",))
    self.assertEqual({path: _columns(path) for path in before}, before)

  def test_files_of_other_points_or_another_goal_are_refused(self):
    workdir = self.copied()
    folder = workdir / "certificates" / "marked"
    shutil.rmtree(folder / "goal_untriggered")
    shutil.copytree(folder / "goal", folder / "goal_untriggered")
    with self.assertRaisesRegex(errors.InputError, "belongs to another run .triggered"):
      asked.run(self.config(), workdir)

  def test_a_given_poison_whose_goal_does_not_fit(self):
    with tempfile.TemporaryDirectory() as temporary:
      path = pathlib.Path(temporary, "theirs.npz")
      poison = poison_file.load(self.finished / "poison" / "wanted.npz")
      poison_file.save(path, poison._replace(goal=types.Goal(8, (100000,))))
      config = finished_run.smoke(rows=("clean", "yours"))
      config.poisons.yours = str(path)
      with self.assertRaisesRegex(errors.InputError, "target 100000 is no test image"):
        asked.run(config, pathlib.Path(temporary, "run"))
      self.assertFalse(pathlib.Path(temporary, "run", "poison").exists())


if __name__ == "__main__":
  absltest.main()
