"""What people bring and take away, damaged: refused in one line, or the same contents."""

import contextlib
import dataclasses
import io
import itertools

import asked
import damaged
import finished_run
import fuzzing
import jax
import numpy as np
import pytest
from absl.testing import absltest
from hypothesis import strategies as st

from pacd_jax import errors
from pacd_jax.data import poison_file
from pacd_jax.experiment import poison_command, selection, weights
from pacd_jax.experiment.entries import networks
from pacd_jax.runtime import run_folder

_PLACES = st.floats(0.0, 1.0, exclude_max=True)


class _Case(finished_run.FinishedRunTestCase):
  @contextlib.contextmanager
  def damage(self, files, place, kind, other):
    """One of the files as damaged, all mended at the end; an InputError is one line."""
    names = [*files]
    name = names[int(place * len(names))]
    alike = [each for each in names if each.suffix == name.suffix]
    damaged.apply(name, kind, alike[int(other * len(alike))])
    try:
      yield
    except errors.InputError as error:
      self.is_one_line(error)
    finally:
      for path, contents in files.items():
        damaged.mend(path, contents)

  def is_one_line(self, error):
    self.assertLen(str(error).splitlines(), 1)
    self.assertLess(len(str(error)), 2100)


class WeightsTest(_Case):
  def of_weights(self, kind, layout):
    model = networks.make("mlp", num_classes=3, image_shape=(2, 2, 1))
    params = model.init(jax.random.key(0), (2, 2, 1))
    path = self.temporary("weights") / "w.safetensors"
    path.parent.mkdir(exist_ok=True)
    shape = {"network": "mlp", "num_classes": 3, "image_shape": (2, 2, 1)}
    weights.save_weights(path, params, layout=layout, **shape)
    damaged.apply(path, kind)
    try:
      found = weights.load_weights(path)[1]
      for one, expected in zip(
        jax.tree.leaves(found), jax.tree.leaves(params), strict=True
      ):
        np.testing.assert_array_equal(one, expected)
    except errors.InputError as error:
      self.is_one_line(error)
    finally:
      damaged.mend(path, b"")

  test_weights, test_weights_more = fuzzing.tiers(
    of_weights, damaged.damage, st.sampled_from(weights.LAYOUTS), few=15, many=500
  )


class PoisonTest(_Case):
  def of_a_plain_poison(self, kind):
    poison = poison_file.load(self.finished / "poison" / "pacd.npz")
    folder = self.temporary("plain")
    folder.mkdir(exist_ok=True)
    path, made = folder / "theirs.npz", folder / "mine.npz"
    made.unlink(missing_ok=True)
    arrays = {"images": poison.images, "labels": poison.labels, "indices": poison.indices}
    np.savez(path, **arrays)
    damaged.apply(path, kind)
    wrong = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(wrong):
      given = ["import", str(path), str(made), f"--run={self.finished}"]
      status = poison_command.main(given)
    damaged.mend(path, b"")
    if status:
      self.assertRegex(wrong.getvalue(), r"\Aerror: [^\n]+\n\Z")
    else:
      found = poison_file.load(made)
      for name, expected in arrays.items():
        np.testing.assert_array_equal(getattr(found, name), expected)

  test_a_plain_poison, test_a_plain_poison_more = fuzzing.tiers(
    of_a_plain_poison, damaged.damage, few=10, many=300
  )


class DefendedTest(_Case):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.config = finished_run.smoke(
      **{
        "defense.chain": ("random_share",),
        "rows": ("clean", "brightness"),
        "train.num_epochs": 1,
      }
    )
    cls.folder = cls.finished.with_name("defended")
    asked.run(cls.config, cls.folder, ("attack", "train"))
    cls.plan = asked.build(cls.config, cls.folder)
    cls.sets = {row: cls.plan.defended.split(row) for row in ("clean", "brightness")}
    cls.files = {path: path.read_bytes() for path in sorted(cls.folder.glob("defense/*"))}

  def of_a_defended_set(self, place, kind, other):
    with self.damage(self.files, place, kind, other):
      folder = run_folder.RunFolder(self.folder, self.plan.folder._identity)
      plan = dataclasses.replace(self.plan, folder=folder)
      for row, expected in self.sets.items():
        if plan.defended.is_there(row):
          for one, whole in zip(plan.defended.split(row), expected, strict=True):
            np.testing.assert_array_equal(one, whole)

  test_a_defended_set, test_a_defended_set_more = fuzzing.tiers(
    of_a_defended_set, _PLACES, damaged.damage, _PLACES, few=10, many=300
  )


class CandidatesTest(_Case):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.config = finished_run.smoke(
      **{
        "rows": ("pacd",),
        "attack.starts": ("clean", "classwise"),
        "attack.selection.every": 1,
        "attack.selection.n": 50,
        "attack.selection.corners": True,
        "attack.selection.rows": ("brightness",),
      }
    )
    cls.folder = cls.finished.with_name("chosen")
    asked.run(cls.config, cls.folder, ("attack",))
    cls.plan = asked.build(cls.config, cls.folder)
    cls.images = selection.choose(cls.plan)[0]
    names = cls.folder.rglob("*.npz"), cls.folder.glob("*.json*")
    cls.files = {path: path.read_bytes() for path in sorted(itertools.chain(*names))}

  def of_a_choice(self, place, kind, other):
    """What stays is scored again, or as it was: the same poison is chosen."""
    with self.damage(self.files, place, kind, other):
      folder = run_folder.RunFolder(self.folder, self.plan.folder._identity)
      found = selection.choose(dataclasses.replace(self.plan, folder=folder))[0]
      np.testing.assert_array_equal(found, self.images)

  @pytest.mark.long
  def test_another_candidate_in_the_place_of_the_chosen(self):
    chosen = run_folder.read_json(self.plan.folder.selection)["chosen"]
    name = self.plan.folder.candidate(chosen)
    others = [path for path in self.files if path.parent == name.parent and path != name]
    self.assertNotEmpty(others)
    for other in others:
      name.write_bytes(self.files[other])
      with self.assertRaisesRegex(errors.InputError, name.name):
        selection.choose(self.plan)
    name.write_bytes(self.files[name])

  # Of the many alone: what they begin with takes too long for `make test`.
  test_a_choice = fuzzing.tiers(
    of_a_choice, _PLACES, damaged.damage, _PLACES, few=1, many=300
  )[1]


if __name__ == "__main__":
  absltest.main()
