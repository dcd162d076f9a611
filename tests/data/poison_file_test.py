"""Poison files: kept whole, checked on reading, never unpickled."""

import io
import os
import pathlib
import pickle
import tempfile
import zipfile
from unittest import mock

import any_poison
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import goals, poison_file


def _poison(**changes):
  """Five 4x4 images of class 8, one of them at the largest distance: 25 of 255."""
  rng = np.random.default_rng(0)
  base_images = rng.integers(30, 220, (5, 4, 4, 1), dtype=np.uint8)
  images = base_images + rng.integers(0, 25, base_images.shape, dtype=np.uint8)
  images[0, 0, 0, 0] = base_images[0, 0, 0, 0] + 25
  own = dict(indices=np.array([3, 11, 4, 400, 0]), checksum="0123456789abcdef" * 4)
  return any_poison.make(images, base_images, **own)._replace(**changes)


def _moved(levels, norm, epsilon):
  """A poison of two black images, the first moved by `levels` in its first pixels."""
  base_images = np.zeros((2, 2, 2, 1), np.uint8)
  images = base_images.copy()
  images[0].flat[: len(levels)] = levels
  return _poison(
    images=images,
    base_images=base_images,
    labels=np.full(2, 8, np.int32),
    base_labels=np.full(2, 8, np.int32),
    indices=np.array([7, 2]),
    inserted=np.zeros(2, bool),
    triggered=np.zeros(2, bool),
    norm=norm,
    epsilon=epsilon,
  )


def _mixed(**changes):
  """Labels of several classes; an image that replaces, two of one image, one of none."""
  poison = _poison()
  images = poison.images.copy()
  images[3:] = poison.base_images[3:]
  fields = dict(
    images=images,
    labels=np.array([8, 1, 8, 2, 8], np.int32),
    base_labels=np.array([3, 3, 3, 2, 5], np.int32),
    indices=np.array([3, 7, 7, -1, -1]),
    inserted=np.array([False, True, True, True, True]),
    clean_label=False,
  )
  return poison._replace(**(fields | changes))


def _fields(poison, **changes):
  """Of the file, as `schema` 3 has them."""
  own = {"schema": 3, "goal": goals.to_text(poison.goal)}
  return poison._asdict() | own | changes


def _second(**changes):
  """The fields of a file of schema 2."""
  fields = _fields(_mixed(), schema=2)
  del fields["triggered"], fields["goal"]
  return fields | changes


def _first(**changes):
  """The fields of a file of schema 1."""
  new = ("schema", "base_labels", "inserted", "clean_label", "triggered", "goal")
  fields = {name: value for name, value in _fields(_poison()).items() if name not in new}
  return fields | changes


def _bytes(fields):
  """An npz of these fields, written by nothing of ours."""
  file = io.BytesIO()
  np.savez(file, **fields)
  return file.getvalue()


def _zip(names):
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    for name in names:
      archive.writestr(name, "not an array")
  return file.getvalue()


def _npy():
  file = io.BytesIO()
  np.save(file, np.arange(3))
  return file.getvalue()


class _MakesFolder:
  """Unpickling it makes a folder."""

  def __init__(self, path):
    self._path = path

  def __reduce__(self):
    return os.mkdir, (str(self._path),)


class PoisonFileTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self._path = self._folder / "pacd.npz"

  def _assert_same(self, poison, expected):
    for name in types.Poison._fields:
      value, wanted = getattr(poison, name), getattr(expected, name)
      self.assertIs(type(value), type(wanted), name)
      if isinstance(wanted, np.ndarray):
        self.assertEqual(value.dtype, wanted.dtype, name)
        np.testing.assert_array_equal(value, wanted, name)
      else:
        self.assertEqual(value, wanted, name)

  def _assert_refused(self, content=None):
    """Loading raises one line that names the file and what to do; returns it."""
    if content is not None:
      self._path.write_bytes(content)
    with self.assertRaises(errors.InputError) as caught:
      poison_file.load(self._path)
    message = str(caught.exception)
    self.assertLen(message.splitlines(), 1)
    self.assertIn(str(self._path), message)
    self.assertIn("delete it", message)
    return message

  def test_round_trip_keeps_every_field_and_its_type(self):
    path = self._folder / "poison" / "pacd.npz"
    poison_file.save(path, _poison())
    self._assert_same(poison_file.load(path), _poison())
    self.assertEqual([path], list(path.parent.iterdir()))  # Nothing is left beside it.

  def test_the_same_poison_gives_the_same_bytes(self):
    other = self._folder / "other.npz"
    poison_file.save(self._path, _poison())
    with mock.patch("time.time", return_value=0.0):  # Dates of another day.
      poison_file.save(other, _poison())
    self.assertEqual(self._path.read_bytes(), other.read_bytes())
    poison_file.save(other, _poison(sigma=0.5))
    self.assertNotEqual(self._path.read_bytes(), other.read_bytes())

  def test_what_could_not_be_loaded_is_not_saved(self):
    for fields in ({"epsilon": 0.001}, {"norm": "l1"}, {"labels": np.zeros(1, np.int32)}):
      with self.assertRaisesRegex(errors.InputError, "save another"):
        poison_file.save(self._path, _poison(**fields))
    self.assertFalse(self._path.exists())

  def test_whole_numbers_are_saved_as_numbers(self):
    poison_file.save(self._path, _poison(epsilon=1, sigma=0))
    self._assert_same(poison_file.load(self._path), _poison(epsilon=1.0, sigma=0.0))

  def test_saving_again_replaces(self):
    poison_file.save(self._path, _poison())
    poison_file.save(self._path, _poison(sigma=0.5))
    self._assert_same(poison_file.load(self._path), _poison(sigma=0.5))

  def test_a_missing_file_is_named(self):
    with self.assertRaisesRegex(errors.InputError, "rerun --stage=attack") as caught:
      poison_file.load(self._path)
    self.assertIn(str(self._path), str(caught.exception))

  # --- damaged and foreign files ------------------------------------------------------

  def test_every_truncation_is_refused(self):
    poison_file.save(self._path, _poison())
    whole = self._path.read_bytes()
    for size in (*range(0, len(whole), 9), len(whole) - 1):
      self._assert_refused(whole[:size])

  def test_a_damaged_byte_is_refused_or_changes_nothing(self):
    """Some bytes of a zip archive mean nothing; no other may be read as good."""
    poison_file.save(self._path, _poison())
    whole = self._path.read_bytes()
    num_refused, raised = 0, {}
    for position in range(0, len(whole), 3):
      damaged = bytearray(whole)
      damaged[position] ^= 1 << position % 8
      self._path.write_bytes(damaged)
      try:
        self._assert_same(poison_file.load(self._path), _poison())
      except errors.InputError:
        num_refused += 1
      except Exception as error:
        raised[position] = repr(error)
    self.assertEmpty(raised)
    self.assertGreater(num_refused, 0)

  @parameterized.named_parameters(
    ("random", np.random.default_rng(0).bytes(3000)),
    ("random_zip", b"PK\x03\x04" + np.random.default_rng(1).bytes(3000)),
    ("random_npy", b"\x93NUMPY" + np.random.default_rng(2).bytes(3000)),
    ("text", b"a poison, honestly\n"),
    ("empty", b""),
    ("pickle", pickle.dumps(_poison()._asdict())),
    ("npy", _npy()),
    ("zip_of_text", _zip(_fields(_poison()))),
    ("zip_of_text_as_npy", _zip(name + ".npy" for name in _fields(_poison()))),
  )
  def test_a_foreign_file_is_refused(self, content):
    self._assert_refused(content)

  @parameterized.parameters("images", "norm", "checksum")
  def test_loading_never_unpickles(self, name):
    folder = self._folder / "unpickled"
    array = np.empty((), object)
    array[()] = _MakesFolder(folder)
    self._assert_refused(_bytes(_fields(_poison()) | {name: array}))
    self.assertFalse(folder.exists())

  @parameterized.parameters("schema", *types.Poison._fields)
  def test_a_lacking_field_is_named(self, name):
    fields = _fields(_poison())
    del fields[name]
    self.assertIn(f"no field {name}", self._assert_refused(_bytes(fields)))

  @parameterized.parameters(*_first())
  def test_a_lacking_field_of_schema_1_is_named(self, name):
    fields = _first()
    del fields[name]
    self.assertIn(f"no field {name}", self._assert_refused(_bytes(fields)))

  @parameterized.named_parameters(
    ("float_images", "images", np.zeros((5, 4, 4, 1), np.float32)),
    ("signed_base_images", "base_images", np.zeros((5, 4, 4, 1), np.int16)),
    ("images_without_channels", "images", np.zeros((5, 4, 4), np.uint8)),
    ("fewer_images", "images", np.zeros((4, 4, 4, 1), np.uint8)),
    ("other_base_shape", "base_images", np.zeros((5, 4, 5, 1), np.uint8)),
    ("fewer_labels", "labels", np.full(4, 8)),
    ("one_label", "labels", np.int32(8)),
    ("fewer_base_labels", "base_labels", np.full(4, 8)),
    ("float_base_labels", "base_labels", np.full(5, 8.0)),
    ("one_for_all_inserted", "inserted", np.bool_(False)),
    ("inserted_as_numbers", "inserted", np.zeros(5, int)),
    ("not_clean_label_of_the_same_labels", "clean_label", False),
    ("base_label_below_0", "base_labels", np.array([8, 8, -1, 8, 8])),
    ("clean_label_as_number", "clean_label", 1),
    ("clean_label_of_each", "clean_label", np.ones(5, bool)),
    ("schema_as_text", "schema", "2"),
    ("schema_in_a_list", "schema", np.array([2])),
    ("float_labels", "labels", np.full(5, 8.0)),
    ("fewer_indices", "indices", np.arange(4)),
    ("indices_in_rows", "indices", np.arange(5)[:, None]),
    ("float_indices", "indices", np.arange(5.0)),
    ("negative_index", "indices", np.array([3, 11, 4, 400, -1])),
    ("index_twice", "indices", np.array([3, 11, 4, 400, 3])),
    ("epsilon_in_a_list", "epsilon", np.array([0.1])),
    ("epsilon_as_text", "epsilon", "0.1"),
    ("epsilon_not_a_number", "epsilon", np.nan),
    ("sigma_as_text", "sigma", "0.25"),
    ("sigma_not_a_number", "sigma", np.nan),
    ("norm_as_number", "norm", 2),
    ("norm_unknown", "norm", "l1"),
    ("target_class_as_text", "target_class", "8"),
    ("dataset_as_number", "dataset", 3),
    ("checksum_as_number", "checksum", 7),
    ("fewer_triggered", "triggered", np.zeros(4, bool)),
    ("triggered_as_numbers", "triggered", np.zeros(5, int)),
    ("triggered_without_a_trigger", "triggered", np.arange(5) > 3),
    ("goal_as_number", "goal", 3),
    ("goal_of_each", "goal", np.array(["", ""])),
    ("goal_that_is_no_json", "goal", "{"),
    ("goal_without_points", "goal", '{"label": 3, "trigger": null}'),
    ("goal_below_another", "goal", '{"label": -2, "points": [], "trigger": null}'),
    ("goal_of_a_half", "goal", '{"label": 0.5, "points": [], "trigger": null}'),
    ("goal_with_a_point_twice", "goal", '{"label": 3, "points": [4, 4], "trigger": null}'),
    ("goal_with_a_point_below_0", "goal", '{"label": 3, "points": [-1], "trigger": null}'),
    ("goal_with_points_as_text", "goal", '{"label": 3, "points": "4", "trigger": null}'),
    (
      "goal_with_half_a_trigger",
      "goal",
      '{"label": 3, "points": [], "trigger": {"name": 1}}',
    ),
  )
  def test_a_wrong_type_or_shape_is_refused(self, name, value):
    self._assert_refused(_bytes(_fields(_poison()) | {name: np.asarray(value)}))

  @parameterized.parameters(0, 4)
  def test_a_label_of_another_class_is_refused_in_schema_1(self, position):
    labels = np.full(5, 8, np.int32)
    labels[position] = 3
    message = self._assert_refused(_bytes(_first(labels=labels)))
    self.assertIn("a label is not the target class 8", message)
    both = _poison(labels=labels, base_labels=labels)  # Several classes, clean labels.
    self._path.write_bytes(_bytes(_fields(both)))
    self._assert_same(poison_file.load(self._path), both)

  @parameterized.parameters(0, 4)
  def test_a_label_that_is_not_clean_is_refused(self, position):
    labels = np.full(5, 8, np.int32)
    labels[position] = 3
    message = self._assert_refused(_bytes(_fields(_poison(labels=labels))))
    words = f"image {position} has label 3 and base label 8, but clean_label is true"
    self.assertIn(words, message)
    said = _poison(labels=labels, clean_label=False)
    self._path.write_bytes(_bytes(_fields(said)))
    self._assert_same(poison_file.load(self._path), said)

  def test_a_file_of_schema_1_is_read(self):
    """What it holds is clean-label, of one class, and replaces."""
    self._path.write_bytes(_bytes(_first()))
    self._assert_same(poison_file.load(self._path), _poison())
    poison_file.save(self._path, poison_file.load(self._path))
    with np.load(self._path) as arrays:
      self.assertEqual(arrays["schema"], 3)

  def test_a_file_of_schema_2_is_read(self):
    """It has no goal, and no image with a trigger."""
    self._path.write_bytes(_bytes(_second()))
    self._assert_same(poison_file.load(self._path), _mixed())

  @parameterized.parameters(
    types.Goal(3, (7, 5)), types.Goal(-1, (), '{"name": "patch", "options": {"size": 3}}')
  )
  def test_a_goal_is_kept(self, *goal):
    goal = types.Goal(*goal)
    triggered = np.array([0, 1, 1, 0, 1], bool) & bool(goal.trigger)
    poison = _poison(goal=goal, triggered=triggered)
    poison_file.save(self._path, poison)
    self._assert_same(poison_file.load(self._path), poison)

  @parameterized.parameters(-1, 0, 4)
  def test_an_unknown_schema_is_refused(self, schema):
    message = self._assert_refused(_bytes(_fields(_poison(), schema=schema)))
    self.assertIn(f"its schema is {schema}, and this version reads 1 to 3", message)

  def test_images_may_be_inserted_under_labels_of_several_classes(self):
    self._path.write_bytes(_bytes(_fields(_mixed())))
    self._assert_same(poison_file.load(self._path), _mixed())
    poison_file.save(self._path, _mixed())
    self._assert_same(poison_file.load(self._path), _mixed())

  @parameterized.named_parameters(
    ("twice", {"inserted": np.array([0, 0, 0, 1, 1], bool)}, "not different positions"),
    ("nowhere", {"inserted": np.array([0, 1, 1, 1, 0], bool)}, "not different positions"),
    ("negative", {"labels": np.array([8, 1, -1, 2, 8])}, "label -1 is no class"),
    ("below", {"indices": np.array([3, 7, -2, -1, -1])}, "inserted image is below -1"),
    ("moved", {"images": _poison().images}, "image 3 has no base .* another base image"),
  )
  def test_places_that_contradict_themselves_are_refused(self, changes, message):
    words = self._assert_refused(_bytes(_fields(_mixed(**changes))))
    self.assertRegex(words, message)
    with self.assertRaisesRegex(errors.InputError, message):
      poison_file.save(self._path, _mixed(**changes))

  def test_a_poison_without_an_image_is_none(self):
    several = ("images", "base_images", "labels", "base_labels", "indices", "inserted")
    several += ("triggered",)
    empty = _poison(**{name: getattr(_poison(), name)[:0] for name in several})
    words = self._assert_refused(_bytes(_fields(empty)))
    self.assertIn("it has no image", words)
    with self.assertRaisesRegex(errors.InputError, "it has no image: save another"):
      poison_file.save(self._path, empty)

  def test_the_budget_holds_for_inserted_images(self):
    images = _mixed().images.copy()
    images[2, 1, 1] = _mixed().base_images[2, 1, 1] + 26
    words = self._assert_refused(_bytes(_fields(_mixed(images=images))))
    self.assertIn("from its base, over its epsilon 0.1", words)

  @parameterized.named_parameters(
    ("linf", [26], [25], "linf", 0.1),  # 25.5 levels.
    ("linf_at_the_bound", [26], [25], "linf", 25 / 255),
    ("linf_in_many_pixels", [25, 25, 26, 25], [25] * 4, "linf", 0.1),
    ("l2_in_one_pixel", [128], [127], "l2", 0.5),  # 127.5 levels.
    ("l2_in_two_pixels", [91, 91], [90, 90], "l2", 0.5),  # 128.7 and 127.3.
    ("l2_over_one", [255, 255, 255, 255], [255, 255, 255, 254], "l2", 1.9999),
  )
  def test_the_budget_holds(self, over, within, norm, epsilon):
    kept = _moved(within, norm, epsilon)
    self._path.write_bytes(_bytes(_fields(kept)))
    self._assert_same(poison_file.load(self._path), kept)
    self._assert_refused(_bytes(_fields(_moved(over, norm, epsilon))))

  def test_a_darker_image_is_as_far_as_a_brighter_one(self):
    base_images = np.full((5, 4, 4, 1), 200, np.uint8)
    kept = _poison(base_images=base_images, images=base_images - 25)
    self._path.write_bytes(_bytes(_fields(kept)))
    self._assert_same(poison_file.load(self._path), kept)
    over = kept._replace(images=base_images - 26)
    self._assert_refused(_bytes(_fields(over)))

  def test_images_have_channels(self):
    flat = np.zeros((5, 4, 4), np.uint8)
    poison = _poison(images=flat, base_images=flat)
    self._assert_refused(_bytes(_fields(poison)))

  # --- crashes ------------------------------------------------------------------------

  def _crash(self, name):
    """A patch under which writing stops: in the middle, or before the renaming."""

    def write_half(file, *args, **kwargs):
      file.write(b"PK\x03\x04 half of it")
      raise KeyboardInterrupt

    if name == "writing":
      return mock.patch.multiple(np, savez=write_half, savez_compressed=write_half)
    return mock.patch.object(os, "replace", side_effect=KeyboardInterrupt)

  @parameterized.parameters("writing", "renaming")
  def test_a_crash_leaves_the_old_file_whole(self, name):
    poison_file.save(self._path, _poison())
    before = self._path.read_bytes()
    with self._crash(name), self.assertRaises(KeyboardInterrupt):
      poison_file.save(self._path, _poison(sigma=0.5))
    self.assertEqual(self._path.read_bytes(), before)
    poison_file.save(self._path, _poison(sigma=0.5))
    self._assert_same(poison_file.load(self._path), _poison(sigma=0.5))

  @parameterized.parameters("writing", "renaming")
  def test_a_crash_leaves_no_file_where_none_was(self, name):
    with self._crash(name), self.assertRaises(KeyboardInterrupt):
      poison_file.save(self._path, _poison())
    self.assertFalse(self._path.exists())


if __name__ == "__main__":
  absltest.main()
