"""The run-off's radius, beside every change that can be made of the rankings."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vote_changes
from absl.testing import absltest, parameterized

from pacd_jax.defenses.aggregation import deep_partition, run_off

_certify = jax.jit(run_off.certify)


@functools.cache
def _recursion(i, j):
  """The paper's A[i, j]."""
  if i == 0 or j == 0:
    return -(-max(i, j) // 2)
  if (i <= 1 and j <= 2) or (i <= 2 and j <= 1):
    return 1
  return 1 + min(
    _recursion(max(i - 2, 0), max(j - 1, 0)), _recursion(max(i - 1, 0), max(j - 2, 0))
  )


def _by_the_paper(logits):
  """The run-off of one point, `[M, K]`, by the paper's cases and with its recursion."""
  classes = range(logits.shape[1])
  rankings = vote_changes.ranking(logits)
  counts = np.bincount(rankings[:, 0], minlength=len(classes)).tolist()
  first, second = sorted(classes, key=lambda c: (-counts[c], c))[:2]
  winner = vote_changes.run_off(rankings)
  other = second if winner == first else first
  places = rankings.argsort(axis=1)

  def gap(a, b):
    return max(0, counts[a] - counts[b] + (b > a))

  rivals = [c for c in classes if c != winner]
  leaves = [
    _recursion(gap(winner, a), gap(winner, b)) for a, b in itertools.combinations(rivals, 2)
  ]
  loses = []
  for b in rivals:
    ahead = int((places[:, winner] < places[:, b]).sum())
    duel = max(0, 2 * ahead - len(logits) + (b > winner))
    enters = 0 if b == other else gap(other, b)
    loses.append(max(-(-enters // 2), -(-duel // 2)))
  return winner, min(leaves + loses) - 1


class _SoundTestCase(parameterized.TestCase):
  def _check(self, num_models, num_classes, count, seed=0):
    """That it is sound; returns how far it is from the exact radius, at each point."""
    logits = vote_changes.logits(num_models, count, num_classes, seed)
    prediction, radius = _certify(logits)
    self.assertEqual((prediction.dtype, radius.dtype), (jnp.int32, jnp.int32))
    rankings = vote_changes.ranking(logits).transpose(1, 0, 2)
    truth = np.array([vote_changes.run_off_radius(each) for each in rankings])
    np.testing.assert_array_equal(prediction, truth[:, 0])
    self.assertGreaterEqual(np.min(radius), 0)
    gap = truth[:, 1] - np.asarray(radius)
    self.assertGreaterEqual(gap.min(), 0)
    return gap


class RunOffTest(_SoundTestCase):
  @parameterized.parameters((2, 3), (5, 3), (3, 4))
  def test_it_is_sound_under_all_changes(self, num_models, num_classes):
    gap = self._check(num_models, num_classes, 40)
    self.assertGreater((gap == 0).mean(), 0.8)

  @parameterized.parameters(1, 50)
  def test_of_two_classes_it_is_deep_partition_aggregation(self, num_models):
    logits = vote_changes.logits(num_models, 200, 2)
    expected = jax.jit(deep_partition.certify)(logits)
    for a, b in zip(_certify(logits), expected, strict=True):
      np.testing.assert_array_equal(a, b)

  def test_it_is_the_papers_formula(self):
    """Of ensembles whose radii are above those that brute force can reach."""
    logits = vote_changes.logits(60, 40, 5)
    prediction, radius = _certify(logits)
    for of_point, *found in zip(
      logits.transpose(1, 0, 2), prediction.tolist(), radius.tolist(), strict=True
    ):
      self.assertEqual(tuple(found), _by_the_paper(of_point))
    self.assertGreater(radius.max(), 5)

  def test_two_overtake_as_the_recursion_says(self):
    places = np.arange(40)
    found = jax.jit(run_off.overtake)(places[:, None], places[None])
    expected = [[_recursion(i, j) for j in places.tolist()] for i in places.tolist()]
    np.testing.assert_array_equal(found, expected)

  def test_two_overtake_with_the_fewest_changes(self):
    """a models turn to one of them, b to the other."""
    places = np.arange(12)
    found = run_off.overtake(places[:, None], places[None]).tolist()
    for i, j in itertools.product(range(12), repeat=2):
      enough = [
        a + b
        for a, b in itertools.product(range(12), repeat=2)
        if 2 * a + b >= i and a + 2 * b >= j
      ]
      self.assertEqual(found[i][j], min(enough))

  def test_the_class_of_most_votes_may_lose_the_run_off(self):
    """Votes 40, 35, 25; of 0 and 1, 60 models prefer 1; 2 is 11 behind 1 with its tie."""
    orders = np.array([[3, 1, 0, 2]] * 40 + [[0, 3, 2, 1]] * 35 + [[0, 2, 3, 1]] * 25)
    logits = orders[:, None, [0, 1, 2]].astype(np.float32)
    prediction, radius = _certify(logits)
    np.testing.assert_array_equal(prediction, [1])
    np.testing.assert_array_equal(radius, [5])
    prediction, _ = jax.jit(deep_partition.certify)(logits)
    np.testing.assert_array_equal(prediction, [0])


@pytest.mark.long
class ManyCasesTest(_SoundTestCase):
  @parameterized.product(num_models=(3, 4, 5, 6), seed=(1, 2, 3))
  def test_three_classes(self, num_models, seed):
    self._check(num_models, 3, 250, seed)

  @parameterized.parameters((3, 4), (4, 4), (7, 3))
  def test_more_classes_and_more_models(self, num_models, num_classes):
    self._check(num_models, num_classes, 100, seed=4)


if __name__ == "__main__":
  absltest.main()
