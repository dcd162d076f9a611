"""Exact votes of nearest neighbours under noise, beside sampling and all outcomes."""

import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.defenses.aggregation import nearest_neighbours


def _problem(count, dimension, num_classes, seed=0):
  rng = np.random.default_rng(seed)
  images = rng.uniform(size=(count, dimension))
  return images, rng.integers(0, num_classes, count), rng.uniform(size=(2, dimension))


def _votes(levels, labels, k, num_classes):
  """The class with more than half of the k nearest, -1 if none: `[..., n]` -> `[...]`."""
  nearest = np.argsort(levels, axis=-1, kind="stable")[..., :k]
  counts = (labels[nearest][..., None] == np.arange(num_classes)).sum(axis=-2)
  return np.where(2 * counts.max(axis=-1) > k, counts.argmax(axis=-1), -1)


def _by_all_outcomes(images, labels, query, edges, sigma, k, num_classes):
  """P[majority] of each class, over every way in which images can be at levels."""
  distances = np.square(images - query).sum(axis=1)
  within = scipy.stats.ncx2.cdf(
    edges[None] / sigma**2, images.shape[1], distances[:, None] / sigma**2
  )
  there = np.diff(np.pad(within, ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1)
  ways = np.array(list(itertools.product(range(there.shape[1]), repeat=len(labels))))
  chances = there[np.arange(len(labels)), ways].prod(axis=1)
  winners = _votes(ways, labels, k, num_classes)
  return np.array([chances[winners == label].sum() for label in range(num_classes)])


class ProbabilitiesTest(parameterized.TestCase):
  @parameterized.parameters(
    (1, 1, 2), (5, 1, 2), (6, 1, 3), (5, 3, 2), (6, 3, 3), (6, 5, 2), (3, 3, 2)
  )
  def test_they_are_those_of_all_outcomes(self, count, k, num_classes):
    images, labels, queries = _problem(count, 3, num_classes)
    edges = nearest_neighbours.levels(3, 0.4, 5)
    options = {"sigma": 0.4, "k": k, "num_classes": num_classes}
    found = nearest_neighbours.probabilities(images, labels, queries, edges, **options)
    expected = [
      _by_all_outcomes(images, labels, query, edges, **options) for query in queries
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)

  @parameterized.parameters((1, 2), (3, 2), (1, 3))
  def test_they_are_those_of_sampling(self, k, num_classes):
    images, labels, queries = _problem(40, 5, num_classes, seed=1)
    edges = nearest_neighbours.levels(5, 0.3)
    (found,) = nearest_neighbours.probabilities(
      images, labels, queries[:1], edges, sigma=0.3, k=k, num_classes=num_classes
    )
    noise = 0.3 * np.random.default_rng(2).standard_normal((20_000, 40, 5))
    distances = np.square(images[None] + noise - queries[0]).sum(axis=2)
    winners = _votes(np.searchsorted(edges, distances), labels, k, num_classes)
    for label, chance in enumerate(found):
      error = np.sqrt(max(chance * (1 - chance), 1e-4) / 20_000)
      self.assertAlmostEqual((winners == label).mean(), chance, delta=4 * error)

  def test_many_levels_are_as_none(self):
    """Of two images, the nearer one by a normal's probability: D = 1, far from 0."""
    images, labels, sigma = np.array([[3.0], [3.5]]), np.array([0, 1]), 0.1
    edges = np.square(np.linspace(2.0, 4.5, 2000))
    (found,) = nearest_neighbours.probabilities(
      images, labels, np.zeros((1, 1)), edges, sigma=sigma, k=1, num_classes=2
    )
    expected = scipy.special.ndtr(0.5 / (np.sqrt(2.0) * sigma))
    np.testing.assert_allclose(found, [expected, 1 - expected], atol=1e-5)


class CertifyTest(parameterized.TestCase):
  @parameterized.parameters((1, 2), (3, 2), (1, 3), (3, 3))
  def test_it_is_linear_in_the_units(self, k, num_classes):
    images, labels, queries = _problem(30, 4, num_classes)
    edges = nearest_neighbours.levels(4, 0.3, 50)
    options = {"k": k, "num_classes": num_classes}
    found = nearest_neighbours.certify(images, labels, queries, edges, sigma=0.3, **options)
    scaled = nearest_neighbours.certify(
      2 * images, labels, 2 * queries, 4 * edges, sigma=0.6, **options
    )
    np.testing.assert_array_equal(scaled[0], found[0])
    np.testing.assert_allclose(scaled[1], 2 * found[1], rtol=1e-8)

  def test_without_noise_it_is_the_plain_vote_with_radius_0(self):
    images, labels, queries = _problem(30, 4, 2)
    prediction, radius = nearest_neighbours.certify(
      images, labels, queries, np.array([1.0]), sigma=0.0, k=3
    )
    distances = np.square(images[None] - queries[:, None]).sum(axis=2)
    np.testing.assert_array_equal(prediction, _votes(distances, labels, 3, 2))
    np.testing.assert_array_equal(radius, 0.0)

  def _check_changes(self, k, num_classes, trials):
    """Images are moved, by the radius in all, towards the query or away from it."""
    sigma, rng = 0.5, np.random.default_rng(4)
    images, labels, queries = _problem(12, 3, num_classes, seed=5)
    edges = nearest_neighbours.levels(3, sigma, 30)
    options = {"sigma": sigma, "k": k, "num_classes": num_classes}
    prediction, radius = nearest_neighbours.certify(
      images, labels, queries, edges, **options
    )
    for query, label, size in zip(queries, prediction, radius, strict=True):
      if label < 0:
        continue
      self.assertGreater(size, 0.0)
      signs = np.where(labels == label, 1.0, -1.0)
      for _ in range(trials):
        shares = rng.dirichlet(np.full(12, 0.3))
        away = (images - query) / np.linalg.norm(images - query, axis=1, keepdims=True)
        change = size * (np.sqrt(shares) * signs)[:, None] * away
        found = nearest_neighbours.probabilities(
          images + 0.999 * change, labels, query[None], edges, **options
        )
        self.assertEqual(found.argmax(), label)
    return prediction

  def test_no_change_below_the_radius_moves_a_prediction(self):
    self.assertGreater(self._check_changes(1, 2, 10).max(), -1)

  @pytest.mark.long
  @parameterized.parameters((1, 2), (3, 2), (1, 3))
  def test_no_change_of_many_moves_a_prediction(self, k, num_classes):
    self._check_changes(k, num_classes, 100)

  def test_levels_are_rising_and_depend_on_no_image(self):
    edges = nearest_neighbours.levels(64, 0.5, 200)
    self.assertEqual(edges.shape, (199,))
    self.assertTrue((np.diff(edges) > 0).all())
    near = scipy.stats.chi2.cdf(edges[0] / 0.25, 64)
    far = scipy.stats.ncx2.cdf(edges[-1] / 0.25, 64, 64 / 0.25)
    np.testing.assert_allclose([near, 1 - far], 1e-4, rtol=1e-6)

  @parameterized.parameters(0.0, 0.5)
  def test_more_classes_than_are_said(self, sigma):
    images, labels, queries = _problem(30, 4, 3)
    words = "labels go up to 2, but there are to be 2 classes: give their number"
    with self.assertRaisesRegex(errors.InputError, words):
      nearest_neighbours.certify(images, labels, queries, np.ones(1), sigma=sigma)

  @parameterized.parameters(0, 2, 31, -1)
  def test_a_k_that_cannot_vote(self, k):
    images, labels, queries = _problem(30, 4, 2)
    for sigma in (0.0, 0.5):
      with self.assertRaisesRegex(errors.InputError, "use an odd k from 1 to 30"):
        nearest_neighbours.certify(images, labels, queries, np.ones(1), sigma=sigma, k=k)


if __name__ == "__main__":
  absltest.main()
