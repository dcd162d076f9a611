"""What a config names can be added from outside the package: one entry for each thing."""

import contextlib
import dataclasses
import functools
import json
import tempfile

import asked
import numpy as np
import optax
import pytest
from absl.testing import absltest

from configs import digits_ga
from pacd_jax import errors, losses
from pacd_jax.bilevel import linear_solve
from pacd_jax.certification import certificates, sampling
from pacd_jax.data import poison_file, sources, training_sets
from pacd_jax.experiment import door, fields, kinds
from pacd_jax.models import networks


@dataclasses.dataclass(frozen=True)
class Louder:
  scale: float = fields.field(1.0, fields.above_zero(), "Of the noise, over sigma.")


@dataclasses.dataclass(frozen=True)
class Darker:
  by: float = fields.field(0.05, fields.above_zero(), "Of every pixel.")


@dataclasses.dataclass(frozen=True)
class Slower:
  by: float = fields.field(0.5, fields.above_zero(), "The last size over the first.")


@dataclasses.dataclass(frozen=True)
class Grey:
  level: float = fields.field(0.5, fields.interval("[0, 1]"), "Of every pixel.")


@dataclasses.dataclass(frozen=True)
class Less:
  most: int = fields.field(30, fields.count(), "Images of a class.")


def _darker(tools, options):
  clean = tools.splits.train.images[tools.poisoned].astype(np.float32) / 255.0
  return np.clip(clean - options.by, 0.0, 1.0)


def _mixed(tools, options):
  """Two of the images relabelled in their places, one put beside, and one made of none."""
  two = tools.poisoned[:2]
  images = tools.splits.train.images[[*two, two[0], two[0]]].astype(np.float32) / 255.0
  images[3] = options.level
  return kinds.Poisoned(
    images,
    labels=np.array([1, 1, tools.target_class, 3]),
    indices=np.array([*two, two[0], -1]),
    inserted=np.array([False, False, True, True]),
  )


def _no_loss_over_a_victims(training_set, key, tools):
  """Takes out the image that a victim is the least sure of."""
  params = tools.train(training_set, key)
  images, labels = training_sets.to_dataset(training_set)
  logits = np.asarray(tools.model.apply(params, images.astype(np.float32) / 255.0))
  margin = logits[np.arange(len(labels)), labels] - logits.max(axis=1)
  worst = training_set.present[int(margin.argmin())]
  after = training_sets.keep(
    training_set, training_set.present[training_set.present != worst]
  )
  return after, training_sets.difference(training_set, after)


def _few_digits(tools, options):
  source = sources.digits()
  chosen = slice(0, 900)
  few = source.train._replace(
    images=source.train.images[chosen], labels=source.train.labels[chosen]
  )
  return source._replace(description="half of the digits", train=few)


def _less(training_set, key, tools, *, most):
  present = training_set.present
  of_class = [present[training_set.labels[present] == k] for k in range(tools.num_classes)]
  after = training_sets.keep(training_set, np.concatenate([p[:most] for p in of_class]))
  return after, training_sets.difference(training_set, after, {"most": most})


def _no_eight(training_set, key, tools):
  present = training_set.present
  after = training_sets.keep(training_set, present[training_set.labels[present] != 8])
  return after, training_sets.difference(training_set, after)


def _short_cg(tools, options):
  return functools.partial(
    linear_solve.conjugate_gradient, max_steps=2, tolerance=tools.tolerance
  )


ENTRIES = (
  (
    kinds.LOSSES,
    kinds.Loss(
      "louder",
      lambda tools, options: losses.gaussian_augmentation(
        tools.apply, sigma=options.scale * tools.sigma
      ),
      "more noise",
      options=Louder,
      needs_noise=True,
    ),
  ),
  (kinds.ROWS, kinds.Row("mixed", _mixed, "of all sorts.", options=Grey)),
  (
    kinds.SCHEDULES,
    kinds.Schedule(
      "slower",
      lambda size, num_steps, options: optax.linear_schedule(
        size, options.by * size, num_steps
      ),
      "falling linearly to a share",
      options=Slower,
    ),
  ),
  (
    kinds.STARTS,
    kinds.Start(
      "grey",
      lambda tools, options: np.full(
        (1, 8, 8, 1), options.level * tools.epsilon, np.float32
      ),
      "all brighter by a share of the budget",
      options=Grey,
    ),
  ),
  (
    kinds.DEFENCES,
    kinds.Defence("surest", lambda options: _no_loss_over_a_victims, "all but one"),
  ),
  (kinds.ROWS, kinds.Row("darker", _darker, "all darker by the same.", options=Darker)),
  (
    kinds.SOLVERS,
    kinds.Solver("short_cg", _short_cg, "two steps of CG", needs_definite=True),
  ),
  (
    kinds.DATA_SETS,
    kinds.DataSet("few_digits", _few_digits, "half of the digits", validation_share=5),
  ),
  (
    kinds.NETWORKS,
    kinds.Network(
      "plain",
      lambda tools, options: networks.linear(
        num_classes=tools.num_classes, image_shape=tools.image_shape
      ),
      "a linear classifier",
    ),
  ),
  (
    kinds.DEFENCES,
    kinds.Defence(
      "less",
      lambda options: functools.partial(_less, **dataclasses.asdict(options)),
      "the first of each class",
      options=Less,
    ),
  ),
  (
    kinds.DEFENCES,
    kinds.Defence("no_eight", lambda options: _no_eight, "no image of one class"),
  ),
  (
    kinds.SAMPLING_RULES,
    dataclasses.replace(sampling.RULES["fixed"], name="also_fixed"),
  ),
)


@contextlib.contextmanager
def added():
  """The entries, for as long as the test lasts."""
  with contextlib.ExitStack() as stack:
    for registry, entry in ENTRIES:
      registry.add(entry)
      stack.callback(registry.remove, entry.name)
    yield


def smoke():
  """The smoke config, as a user changes it once the entries are there."""
  config = door.defaults()
  config.update(digits_ga.get_config("smoke").copy_and_resolve_references())
  config.data.name = "few_digits"
  config.model.name = "plain"
  config.rows = ("clean", "darker", "mixed", "pacd")
  config.mixed.level = 0.25
  config.attack.starts = ("grey",)
  config.attack.grey.level = 1.0
  config.attack.step_schedule = config.train.schedule = "slower"
  config.train.slower.by = 0.25
  config.darker.by = 0.07
  config.attack.loss = config.train.loss = "louder"
  config.attack.louder.scale = config.train.louder.scale = 1.5
  config.attack.solver = "short_cg"
  config.defense.chain = ("less", "random_share", "surest")
  config.defense.less.most = 20
  config.certify.mode = "also_fixed"
  config.attack.val_batch = 15
  return config


class ExtendingTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(added())
    self.workdir = self.enter_context(tempfile.TemporaryDirectory())

  @pytest.mark.long
  def test_a_run_of_all_of_them(self):
    config = smoke()
    table = asked.run(config, self.workdir)
    self.assertIn("darker", table)
    self.assertIn("training louder", table)
    self.assertIn("defended by less, then random_share, then surest", table)
    plan = door.load(self.workdir)
    self.assertEqual(plan.splits.description, "half of the digits")
    self.assertEqual(plan.config.train.loss.own.scale, 1.5)
    poison = poison_file.load(plan.folder.poison("darker"))
    moved = poison.base_images.astype(int) - poison.images
    self.assertEqual(moved.max(), round(0.07 * 255))
    report = json.loads(plan.folder.defence_report("darker").read_text())
    less, share, surest = report["defences"]
    self.assertEqual((less["name"], less["values"]), ("less", {"most": 20.0}))
    self.assertEqual(report["images_after"], len(plan.defended.split("darker").present))
    self.assertEqual(report["images_after"], 99)  # Half of twenty, ten times; less one.
    self.assertLen(surest["removed"], 1)
    removed = {*less["removed"], *share["removed"], *surest["removed"]}
    self.assertTrue(removed.isdisjoint(plan.defended.split("darker").present.tolist()))
    self._check_mixed(plan)
    record = certificates.read(plan.folder.certificate("pacd", 0))
    self.assertEqual(record.sidecar["mode"], "also_fixed")
    self.assertEqual(record.sidecar["trained_on"], plan.defended.checksum("pacd"))
    self.assertNotEqual(plan.defended.checksum("pacd"), plan.training_sets.checksum("pacd"))
    with self.subTest("a damaged file of the defences is refused"):
      path = plan.folder.defended("pacd")
      path.write_bytes(path.read_bytes()[:200])
      with self.assertRaisesRegex(errors.InputError, "pacd.npz: it is truncated"):
        asked.run(config, self.workdir)

  def _check_mixed(self, plan):
    poison = poison_file.load(plan.folder.poison("mixed"))
    self.assertFalse(poison.clean_label)
    np.testing.assert_array_equal(poison.base_labels, [8, 8, 8, 3])
    self.assertEqual((poison.images[3].min(), poison.images[3].max()), (64, 64))
    split, clean = plan.training_sets.split("mixed"), plan.splits.train
    num = len(clean.labels)
    np.testing.assert_array_equal(split.labels[num:], [8, 3])
    np.testing.assert_array_equal(split.images[num:], poison.images[2:])
    np.testing.assert_array_equal(
      np.flatnonzero(split.labels[:num] != clean.labels), np.sort(poison.indices[:2])
    )
    self.assertLen(split.present, num + 2)
    (row,) = (
      each
      for each in json.loads(plan.folder.results.read_text())["rows"]
      if each["data"] == "mixed"
    )
    left = "Its defences left 99 of 542 images."
    self.assertIn(
      f"Of 4 images 2 images inserted, 2 under another label. {left}", row["words"]
    )

  @pytest.mark.long
  def test_a_defence_that_takes_a_class(self):
    config = smoke()
    config.defense.chain = ("no_eight",)
    with self.assertRaisesRegex(errors.InputError, "'no_eight', 1 of 1: .* class 8"):
      asked.run(config, self.workdir)

  def test_options_that_an_entry_does_not_have(self):
    values = smoke().to_dict()
    values["defense"]["less"]["least"] = 3
    with self.assertRaisesRegex(errors.InputError, "least"):
      door.parse(type(smoke())(values))

  def test_a_value_that_an_option_cannot_have(self):
    config = smoke()
    config.train.louder.scale = -1.0
    with self.assertRaisesRegex(errors.InputError, "train.louder.scale"):
      door.parse(config)

  def test_a_name_is_taken_once(self):
    for registry, entry in ENTRIES:
      with self.assertRaisesRegex(errors.InputError, f"'{entry.name}' already"):
        registry.add(entry)


class WithoutTest(absltest.TestCase):
  def test_names_are_gone_with_their_entries(self):
    with self.assertRaisesRegex(errors.InputError, "louder"):
      door.named("digits_ga", "smoke", {"train.loss": "louder"})


if __name__ == "__main__":
  absltest.main()
