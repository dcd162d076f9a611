"""Certified radii by bisection: exact for a linear classifier, verified, monotone."""

import jax.numpy as jnp
import numpy as np
import random_networks
from absl.testing import absltest, parameterized

from pacd_jax import errors, types
from pacd_jax.bounds import interval, layers, margins, radius

_IMAGES = random_networks.images(1, 8)


def _model(network):
  return types.Model(
    lambda key, shape: network, layers.apply, describe=lambda params: params
  )


class RadiusTest(parameterized.TestCase):
  @parameterized.parameters(("linf", 1), ("l2", 2))
  def test_linear_classifier_has_its_distance_to_the_boundary(self, norm, dual):
    """min_j margin_j / |w_y - w_j|_dual, without the box."""
    network = random_networks.dense_net(0, (72, 3))
    w, b = np.asarray(network[1].kernel), np.asarray(network[1].bias)
    logits = np.asarray(_IMAGES).reshape(8, -1) @ w + b
    labels = logits.argmax(axis=1)
    exact = [
      min(
        (logits[i, y] - logits[i, j]) / np.linalg.norm(w[:, y] - w[:, j], dual)
        for j in range(3)
        if j != y
      )
      for i, y in enumerate(labels)
    ]
    predictions, radii = radius.certify(
      _model(network), network, _IMAGES, norm=norm, box=False, most=1.0, steps=14
    )
    np.testing.assert_array_equal(predictions, labels)
    np.testing.assert_allclose(radii, np.minimum(exact, 1.0), atol=2 / 2**14)
    self.assertTrue(np.all(radii <= np.asarray(exact) + 1e-5))
    self.assertGreater(np.std(radii), 0.001)

  def test_radii_are_verified_themselves_and_those_beyond_are_not(self):
    network, options = random_networks.network("dense", 1), {"most": 0.2, "steps": 8}
    given = _model(network), network, _IMAGES
    predictions, radii = radius.certify(*given, method="crown_ibp", **options)

    def verified(radii):
      ball = interval.Ball(_IMAGES, radii)
      found = margins.certified(network, ball, predictions, method="crown_ibp")
      return np.asarray(margins.smallest(found, predictions) > 0.0)

    self.assertTrue(verified(radii)[radii > 0.0].all())
    beyond = radii + 0.2 / 2**8
    self.assertFalse(verified(beyond)[beyond < 0.2].any())
    _, of_ibp = radius.certify(*given, method="ibp", **options)
    self.assertTrue(np.all(radii >= of_ibp))
    self.assertGreater(float((radii - of_ibp).max()), 0.0)

  def test_the_largest_radius_is_given_where_it_is_verified(self):
    network = random_networks.dense_net(0, (72, 3))
    given = _model(network), network, _IMAGES
    _, radii = radius.certify(*given, most=1e-6, steps=3)
    np.testing.assert_array_equal(radii, np.float32(1e-6))

  def test_weights_that_are_not_finite_certify_nothing(self):
    network = random_networks.dense_net(0, (72, 3))
    for value in (jnp.nan, jnp.inf):
      broken = (network[0], layers.Dense(network[1].kernel.at[0].set(value), jnp.ones(3)))
      _, radii = radius.certify(_model(network), broken, _IMAGES, most=0.5, steps=3)
      np.testing.assert_array_equal(radii, 0.0)

  @parameterized.parameters(
    ({"norm": "l1"}, "norm is 'l1': bounds are on balls of 'linf' or 'l2'"),
    ({"most": 0.0}, "the largest radius is 0.0"),
    ({"steps": 0}, "0 steps"),
    ({"method": "sdp"}, "method is 'sdp': use one of ibp, crown_ibp, crown"),
    ({"method": "crown", "slopes": "steep"}, "slopes is 'steep'"),
  )
  def test_refuses(self, options, message):
    network = random_networks.dense_net(0, (72, 3))
    with self.assertRaisesRegex(errors.InputError, message):
      radius.certify(_model(network), network, _IMAGES, **options)
    with self.assertRaisesRegex(errors.InputError, "the last layer is not dense"):
      radius.certify(_model(network), network[:1], _IMAGES)


if __name__ == "__main__":
  absltest.main()
