"""The radius under overlapping parts, beside every change of every set of parts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vote_changes
from absl.testing import absltest, parameterized

from pacd_jax.defenses.aggregation import deep_partition, finite_aggregation, partitions

_certify = jax.jit(finite_aggregation.certify, static_argnums=1)


def _lost(votes, label, other, offsets):
  """delta_h, by its definition, for every part h."""
  reached = [[(h + s) % len(votes) for s in offsets] for h in range(len(votes))]
  return [
    sum(1 + (votes[m] == label) - (votes[m] == other) for m in models) for models in reached
  ]


def _by_definition(votes, num_classes, offsets):
  """The largest r such that no r parts take more than the lead, over all sets of parts."""
  counts = np.bincount(votes, minlength=num_classes)
  label = counts.argmax()
  for r in range(1, len(votes) + 1):
    for other in set(range(num_classes)) - {label}:
      lead = counts[label] - counts[other] - (other < label)
      lost = _lost(votes, label, other, offsets)
      if any(sum(each) > lead for each in itertools.combinations(lost, r)):
        return label, r - 1
  raise AssertionError("all parts together take any lead")


class _SoundTestCase(parameterized.TestCase):
  def _check(self, num_models, num_classes, spread, count, seed=0):
    """That it is the definition's, and sound; returns the share of exact ones."""
    offsets = partitions.offsets(num_models, spread, seed)
    logits = vote_changes.logits(num_models, count, num_classes, seed)
    prediction, radius = _certify(logits, offsets)
    self.assertEqual((prediction.dtype, radius.dtype), (jnp.int32, jnp.int32))
    found = np.stack([prediction, radius], axis=1)
    ways = logits.argmax(axis=2).T
    expected = [_by_definition(way, num_classes, offsets) for way in ways]
    np.testing.assert_array_equal(found, expected)
    truth = [vote_changes.plurality_radius(way, num_classes, offsets) for way in ways]
    np.testing.assert_array_equal(found[:, 0], np.array(truth)[:, 0])
    exact = np.array(truth)[:, 1]
    self.assertTrue((found[:, 1] <= exact).all())
    return (found[:, 1] == exact).mean()


class FiniteAggregationTest(_SoundTestCase):
  @parameterized.parameters((4, 2, 1), (6, 3, 2), (7, 2, 3))
  def test_it_is_sound_under_all_changes(self, num_models, num_classes, spread):
    share = self._check(num_models, num_classes, spread, 30)
    self.assertGreaterEqual(share, 1.0 if spread == 1 else 0.5)

  @parameterized.parameters((1, 2), (50, 2), (51, 10))
  def test_without_overlap_it_is_deep_partition_aggregation(self, num_models, num_classes):
    logits = vote_changes.logits(num_models, 200, num_classes)
    found = _certify(logits, (0,))
    expected = jax.jit(deep_partition.certify)(logits)
    for a, b in zip(found, expected, strict=True):
      np.testing.assert_array_equal(a, b)

  @parameterized.parameters((40, 3, 4), (60, 10, 7))
  def test_it_is_the_sum_of_the_largest(self, num_models, num_classes, spread):
    """Of ensembles whose radii are above those that brute force can reach."""
    offsets = partitions.offsets(num_models, spread)
    logits = vote_changes.logits(num_models, 30, num_classes)
    prediction, radius = _certify(logits, offsets)
    for votes, label, found in zip(
      logits.argmax(axis=2).T, prediction.tolist(), radius.tolist(), strict=True
    ):
      counts = np.bincount(votes, minlength=num_classes)
      self.assertEqual(label, counts.argmax())
      others = [other for other in range(num_classes) if other != label]
      taken = [
        np.cumsum(sorted(_lost(votes, label, other, offsets))[::-1]) for other in others
      ]
      leads = [counts[label] - counts[other] - (other < label) for other in others]
      within = [(t <= lead).sum() for t, lead in zip(taken, leads, strict=True)]
      self.assertEqual(found, min(within))
    self.assertGreater(radius.max(), 1)

  def test_what_all_parts_take_together(self):
    """sum_h delta_h = d (M + n_c - n_c')."""
    votes = vote_changes.logits(12, 1, 3).argmax(axis=2)[:, 0]
    counts = np.bincount(votes, minlength=3)
    for spread in (1, 2, 5, 12):
      lost = _lost(votes, 0, 2, partitions.offsets(12, spread))
      self.assertEqual(sum(lost), spread * (12 + counts[0] - counts[2]))

  def test_a_part_of_every_model_decides_alone(self):
    logits = np.zeros((6, 1, 2), np.float32)
    _, radius = _certify(logits, tuple(range(6)))
    np.testing.assert_array_equal(radius, [0])

  def test_it_can_be_mapped(self):
    logits = vote_changes.logits(6, 9, 3)
    stacked = np.stack([logits, 4.0 - logits])
    mapped = jax.vmap(lambda each: _certify(each, (0, 2)))(stacked)
    for number, each in enumerate(stacked):
      for a, b in zip(mapped, _certify(each, (0, 2)), strict=True):
        np.testing.assert_array_equal(a[number], b)


@pytest.mark.long
class ManyCasesTest(_SoundTestCase):
  @parameterized.product(
    num_models=(4, 5, 6, 7), num_classes=(2, 3, 4), spread=(2, 3), seed=(1, 2)
  )
  def test_it_is_sound(self, num_models, num_classes, spread, seed):
    self._check(num_models, num_classes, spread, 80, seed)


if __name__ == "__main__":
  absltest.main()
