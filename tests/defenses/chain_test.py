"""Defences in a chain: what each gets, what is asked of it, and what the chain says."""

import functools

import jax
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.data import training_sets
from pacd_jax.defenses import chain, identity, random_share

_TOOLS = types.Tools(model=None, train=None, validation=None, num_classes=4)


def _training_set():
  """Ten of twelve 2x2 images, classes 0 to 3 in turn; 2 and 11 are not there."""
  images = np.arange(48, dtype=np.uint8).reshape(12, 2, 2, 1)
  labels = (np.arange(12) % 4).astype(np.int32)
  present = np.array([0, 1, 3, 4, 5, 6, 7, 8, 9, 10])
  return types.TrainingSet(images, labels, present)


def _changes(**fields):
  """A defence that replaces fields of the set, and reports it."""

  def defence(training_set, key, tools):
    after = training_set._replace(**fields)
    return after, training_sets.difference(training_set, after)

  return defence


def _without(*positions):
  def defence(training_set, key, tools):
    kept = np.setdiff1d(training_set.present, positions)
    after = training_sets.keep(training_set, kept)
    return after, training_sets.difference(training_set, after, {"key": _word(key)})

  return defence


def _word(key):
  return float(jax.random.key_data(key)[-1])


class ChainTest(parameterized.TestCase):
  def _apply(self, *defences):
    named = [(f"the {number}th", defence) for number, defence in enumerate(defences)]
    return chain.apply(named, _training_set(), jax.random.key(0), _TOOLS)

  def _refuses(self, message, *defences):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      self._apply(*defences)
    self.assertNotIn("\n", str(caught.exception))

  def test_no_defence(self):
    found, reports = self._apply()
    self.assertEqual(reports, [])
    jax.tree.map(np.testing.assert_array_equal, found, _training_set())

  def test_each_gets_what_the_one_before_left_and_its_places_key(self):
    found, reports = self._apply(_without(0, 1), identity.identity, _without(7))
    np.testing.assert_array_equal(found.present, [3, 4, 5, 6, 8, 9, 10])
    removed = [report.removed.tolist() for report in reports]
    self.assertEqual(removed, [[0, 1], [], [7]])
    keys = [_word(jax.random.fold_in(jax.random.key(0), place)) for place in (0, 2)]
    self.assertEqual([reports[place].values["key"] for place in (0, 2)], keys)

  def test_tools_are_handed_on(self):
    def looks(training_set, key, tools):
      self.assertIs(tools, _TOOLS)
      return identity.identity(training_set, key, tools)

    self._apply(looks)

  def test_images_may_be_changed_relabelled_and_added(self):
    def defence(training_set, key, tools):
      after = training_set._replace(images=training_set.images ^ 1)
      after = training_sets.relabel(after, np.array([0]), np.array([3]))
      after = training_sets.insert(after, after.images[:2], np.array([1, 2]))
      return after, training_sets.difference(training_set, after)

    found, (report, _) = self._apply(defence, _without(12))
    np.testing.assert_array_equal(report.relabelled, [0])
    np.testing.assert_array_equal(report.changed, _training_set().present)
    np.testing.assert_array_equal(found.present, [*_training_set().present, 13])

  @parameterized.named_parameters(
    ("float", {"images": np.zeros((12, 2, 2, 1), np.float32)}, "images float32 .12, 2"),
    ("shape", {"images": np.zeros((12, 4, 1, 1), np.uint8)}, "given uint8 .12, 2, 2, 1"),
    ("int64", {"labels": np.zeros(12, np.int64)}, "labels int64 .12,.: return an int32"),
    ("fewer", {"labels": np.zeros(11, np.int32)}, "labels int32 .11,.: .* the 12 images"),
    ("class", {"labels": np.full(12, 4, np.int32)}, "labels out of 0 to 3: return classes"),
    ("minus", {"labels": np.full(12, -1, np.int32)}, "labels out of 0 to 3"),
    ("int32", {"present": np.arange(10, dtype=np.int32)}, "not int64 positions that rise"),
    ("order", {"present": np.array([3, 1, 0, 4, 5, 6, 7])}, "positions that rise: sort"),
    ("twice", {"present": np.array([0, 1, 1, 3, 4, 6])}, "positions that rise"),
    ("grid", {"present": np.arange(4)[None]}, "positions that rise"),
    ("end", {"present": np.array([0, 1, 3, 6, 12])}, "positions out of 0 to 11"),
    ("start", {"present": np.array([-1, 0, 1, 3, 6])}, "positions out of 0 to 11"),
    ("back", {"present": np.arange(11)}, "put back position 2, which was not there: keep"),
  )
  def test_what_is_no_training_set_is_refused(self, fields, message):
    def defence(training_set, key, tools):
      nothing = training_sets.difference(training_set, training_set)
      return training_set._replace(**fields), nothing

    self._refuses(
      f"defence 'the 1th', 2 of 3: .*{message}", _without(), defence, _without()
    )

  def test_stored_images_stay(self):
    def cuts_out(training_set, key, tools):
      after = training_sets.whole(training_sets.to_dataset(training_set))
      return after, training_sets.difference(training_set, training_set)

    self._refuses("returned 10 stored images of 12: leave them in their places", cuts_out)

  def test_a_class_that_is_lost_is_named(self):
    words = "'the 1th', 2 of 2: it left no image of class 2: let it remove or relabel less"
    self._refuses(words, _without(6), _without(10))
    labels = np.where(_training_set().labels == 3, 0, _training_set().labels)
    self._refuses("it left no image of class 3", _changes(labels=labels))

  @parameterized.parameters("removed", "relabelled", "changed")
  def test_a_report_that_is_not_true_is_refused(self, name):
    def defence(training_set, key, tools):
      after, report = _without(4, 8)(training_set, key, tools)
      return after, report._replace(**{name: np.array([5])})

    true = 2 if name == "removed" else 0
    self._refuses(f"reports 1 images as {name}, and {true} are, or others", defence)

  def test_a_chain_of_the_rooms_defences(self):
    half = functools.partial(random_share.random_share, share=0.5)
    found, reports = self._apply(half, half)
    self.assertLen(found.present, 4)  # Of classes of 3 and 2, then of 2 and 1, one each.
    removed = [*reports[0].removed, *reports[1].removed]
    np.testing.assert_array_equal(
      np.sort([*removed, *found.present]), _training_set().present
    )


if __name__ == "__main__":
  absltest.main()
