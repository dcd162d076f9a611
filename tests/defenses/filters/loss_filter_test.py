"""The loss filter: its score, and the model that it is of."""

import types as python

import jax
import numpy as np
import point_clouds
from absl.testing import absltest
from scipy import special

from pacd_jax.defenses.filters import loss


class ScoreTest(absltest.TestCase):
  def test_it_is_the_cross_entropy(self):
    points, labels = point_clouds.clouds(dims=3)
    expected = -special.log_softmax(points.astype(np.float64), axis=1)
    found = loss.score(points, labels)
    np.testing.assert_allclose(found, expected[np.arange(len(labels)), labels], rtol=1e-9)

  def test_losses_below_rounding_are_told_apart(self):
    logits = np.array(
      [[60.0, 0, 0], [80.0, 0, 0], [1000.0, 0, 0], [0, 900.0, 0]], np.float32
    )
    found = loss.score(logits, np.zeros(4, np.int32))
    np.testing.assert_allclose(found[:2], 2 * np.exp([-60.0, -80.0]), rtol=1e-9)
    np.testing.assert_allclose(found[3], 900.0)
    self.assertLess(found[2], found[1])

  def test_a_far_point_on_the_wrong_side_goes_first(self):
    """Of a linear classifier, whose loss grows with the distance."""
    points, labels = point_clouds.clouds()
    weights = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    label = labels[11]
    points[11] = 1e4 * (weights[:, (label + 1) % 3] - weights[:, label])
    self.assertEqual(loss.score(points @ weights, labels).argmax(), 11)


class LossTest(absltest.TestCase):
  def test_the_model_is_trained_on_all_of_the_set(self):
    weights = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    model = python.SimpleNamespace(
      apply=lambda params, images: images.reshape(len(images), -1) @ params
    )
    given, sets = point_clouds.images(), []

    def train(training_set, key):
      sets.append(training_set)
      return weights

    tools = point_clouds.tools(model=model, train=train)
    after, report = loss.loss(given, jax.random.key(1), tools, share=0.2)
    self.assertIs(sets[0], given)
    images, labels = (each[given.present] for each in given[:2])
    logits = (images / np.float32(255)).reshape(-1, 6) @ weights
    scores = loss.score(logits, labels)
    gone = np.isin(given.present, report.removed)
    for label in range(3):
      most = scores[~gone & (labels == label)].max()
      self.assertGreater(scores[gone & (labels == label)].min(), most)
    self.assertLen(after.present, 23 + 19 + 27)


if __name__ == "__main__":
  absltest.main()
