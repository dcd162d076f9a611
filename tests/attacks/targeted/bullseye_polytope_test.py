"""Bullseye polytope, on a small network's features."""

import functools

import jax
import numpy as np
import targeted_setting as setting
from absl.testing import absltest, parameterized

from pacd_jax.attacks.targeted.bullseye_polytope import bullseye_polytope, mean_distance


@functools.cache
def _networks(number):
  features, params = setting.network()
  return features, [jax.tree.map(lambda leaf, m=m: leaf * m, params) for m in range(1, 3)][
    :number
  ]


def _distance(features, networks, target, images):
  """By the equation, one network after the other."""
  found = []
  for params in networks:
    wanted = np.asarray(features(params, target[None]))[0]
    middle = np.asarray(features(params, images)).mean(axis=0)
    found.append(0.5 * np.sum((wanted - middle) ** 2) / np.sum(wanted**2))
  return np.mean(found)


class BullseyePolytopeTest(parameterized.TestCase):
  @parameterized.parameters((1, "linf", 0.1), (2, "l2", 0.5))
  def test_mean_features_come_near_within_the_budget(self, number, norm, epsilon):
    features, networks = _networks(number)
    target, base, history = setting.images(5)[0], setting.images(5)[1:], []
    images = bullseye_polytope(
      features,
      networks,
      target,
      base,
      lambda done, values: history.append((done, float(values["loss"]))),
      epsilon=epsilon,
      norm=norm,
      num_steps=50,
      learning_rate=0.01,
    )
    setting.check_budget(self, images, base, epsilon, norm)
    before, after = (_distance(features, networks, target, x) for x in (base, images))
    self.assertLess(after, 0.5 * before)
    self.assertEqual([done for done, _ in history], [20, 40, 50])
    np.testing.assert_allclose(history[-1][1], after, rtol=1e-3)
    self.assertLess(history[-1][1], history[0][1])

  def test_images_with_the_targets_mean_features_have_distance_zero(self):
    """Linear features of images to both sides of the target: no image collides."""
    target, shift = setting.images(1)[0], 0.1 * (setting.images(2)[1] - 0.5)
    pair = np.stack([target + shift, target - shift])
    found = mean_distance(setting.linear, setting.matrix()[None], target, pair)
    self.assertLess(float(found), 1e-10)
    one = mean_distance(setting.linear, setting.matrix()[None], target, pair[:1])
    self.assertGreater(float(one), 1e-5)


if __name__ == "__main__":
  absltest.main()
