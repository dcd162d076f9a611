"""Neural Cleanse: its index by hand, and a trigger that a network is known to have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.defenses import neural_cleanse


def _judge(norms):
  return neural_cleanse.judge(norms, np.full(len(norms), True))


class IndexTest(parameterized.TestCase):
  def test_of_a_known_list(self):
    """Median 10, deviations 0 1 1 2 8, MAD 1."""
    found = neural_cleanse.anomaly_indices(np.array([9.0, 10.0, 2.0, 11.0, 12.0]))
    np.testing.assert_allclose(found, np.array([1, 0, 8, 1, 2]) / 1.4826)

  @parameterized.parameters(0.01, 3.0)
  def test_scaling_all_norms_leaves_it(self, scale):
    norms = np.random.default_rng(0).uniform(1, 5, 10)
    one, other = (neural_cleanse.anomaly_indices(n) for n in (norms, scale * norms))
    np.testing.assert_allclose(one, other)

  def test_without_deviations_there_is_none(self):
    norms = np.array([3.0, 3.0, 3.0, 1.0])
    np.testing.assert_array_equal(neural_cleanse.anomaly_indices(norms), [0, 0, 0, np.inf])
    self.assertEqual(_judge(np.full(4, 2.0)), (0, 0.0, ()))

  def test_labels_are_flagged_below_the_median_alone(self):
    norms = np.array([9.0, 10.0, 2.0, 11.0, 40.0])
    self.assertGreater(neural_cleanse.anomaly_indices(norms)[4], 2.0)
    found = _judge(norms)
    self.assertEqual((found.label, found.flagged), (2, (2,)))
    self.assertAlmostEqual(found.index, 8 / 1.4826)

  @parameterized.parameters(
    ([784.0] * 5 + [60.0, 62.0, 65.0, 70.0, 2.0], (9,)),
    ([784.0] * 5 + [60.0, 62.0, 65.0, 70.0, 68.0], ()),
  )
  def test_labels_that_no_mask_reached_do_not_count(self, norms, flagged):
    """With their norms, which are the whole image's, the others would all be small."""
    norms = np.array(norms)
    found = neural_cleanse.judge(norms, norms < 784.0)
    self.assertEqual(found.flagged, flagged)
    self.assertEqual(found.label, np.argmin(norms))
    of_reached = neural_cleanse.anomaly_indices(norms[5:])
    self.assertAlmostEqual(found.index, of_reached[np.argmin(norms[5:])])

  def test_with_fewer_than_half_of_the_labels_nothing_is_found(self):
    norms = np.array([784.0] * 6 + [60.0, 62.0, 65.0, 2.0])
    found = neural_cleanse.judge(norms, norms < 784.0)
    self.assertEqual(found, (None, 0.0, ()))


def _linear(params, images):
  return images.reshape(len(images), -1) @ params


@functools.cache
def _found(planted):
  """Of a linear network of 8 labels; one pixel alone decides for label 5 where planted."""
  rng = np.random.default_rng(0)
  weights = np.zeros((8, 8, 8))
  for label in range(8):  # Each label has a row of pixels, so that none is easier.
    weights[label, :, label] = 3.0
  if planted:
    weights[4, 1, 5] = 60.0
  params = jnp.asarray(weights.reshape(64, 8), jnp.float32)
  images = rng.uniform(0.0, 0.3, (100, 8, 8, 1)).astype(np.float32)
  images[:, 4, 1] = 0.0
  settings = neural_cleanse.Settings(num_steps=100)
  key = jax.random.key(0)
  return neural_cleanse.find(_linear, params, images, 8, key, settings), params, images


class FindTest(absltest.TestCase):
  def test_the_mask_is_at_the_planted_pixel(self):
    found, _, _ = _found(True)
    finding = _judge(found.norms)
    self.assertEqual((finding.label, finding.flagged), (5, (5,)))
    mask = found.masks[5]
    self.assertEqual(np.unravel_index(mask.argmax(), mask.shape), (4, 1))
    self.assertLess(found.norms[5], 0.5 * np.median(found.norms))

  def test_without_it_the_label_is_not_flagged(self):
    found, _, _ = _found(False)
    self.assertNotIn(5, _judge(found.norms).flagged)

  def test_masks_give_their_label(self):
    found, params, images = _found(True)
    self.assertTrue(found.reached.all())
    np.testing.assert_allclose(found.norms, found.masks.sum(axis=(1, 2)), rtol=1e-5)
    for name in ("masks", "patterns"):
      values = getattr(found, name)
      self.assertTrue(((values >= 0) & (values <= 1)).all())
    for label in range(8):
      mask, pattern = found.masks[label][None, ..., None], found.patterns[label][None]
      triggered = (1 - mask) * images + mask * pattern
      share = (np.asarray(_linear(params, triggered)).argmax(axis=-1) == label).mean()
      self.assertGreater(share, 0.9)

  def test_the_mask_costs_nothing_before_steps_of_success(self):
    """Without any, the search is the same whatever the cost is."""
    _, params, images = _found(False)

    def found(cost, patience):
      settings = neural_cleanse.Settings(
        num_steps=6, cost=cost, patience=patience, success=0.0
      )
      key = jax.random.key(0)
      return neural_cleanse.find(_linear, params, images, 8, key, settings).norms

    np.testing.assert_array_equal(found(1.0, 7), found(10.0, 7))
    self.assertLess(found(10.0, 2).sum(), 0.9 * found(1.0, 7).sum())

  def test_a_label_that_nothing_gets_has_a_mask_of_ones(self):
    def never(params, images):
      return _linear(params, images).at[:, 0].set(-100.0)

    _, params, images = _found(False)
    settings = neural_cleanse.Settings(num_steps=3)
    found = neural_cleanse.find(never, params, images, 8, jax.random.key(0), settings)
    self.assertEqual((found.norms[0], found.reached[0]), (64.0, False))
    np.testing.assert_array_equal(found.masks[0], 1.0)


if __name__ == "__main__":
  absltest.main()
