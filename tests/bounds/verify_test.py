"""Certificates by bounds: exact for a linear classifier, never beyond a PGD point."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_networks
from absl.testing import absltest, parameterized

from pacd_jax import errors, evasion, types
from pacd_jax.bounds import interval, layers, margins, verify
from pacd_jax.certification import deterministic

_IMAGES = random_networks.images(1, 8)
_LINEAR = random_networks.dense_net(0, (72, 3))
_DEEP = random_networks.network("dense", 1)


def _model(network):
  return types.Model(
    lambda key, shape: network, layers.apply, describe=lambda params: params
  )


def _certified(network, *, most, num_halvings=10, norm="linf", **options):
  procedure = deterministic.Verification(
    "mine",
    verify.make(_model(network), norm=norm, **options),
    norm,
    most / 4,
    most,
    num_halvings,
    num_classes=3,
  )
  return procedure.certify(network, np.asarray(_IMAGES))


def _with_first(network, value, rows=0):
  """The network with other rows of its first weights."""
  kernel = network[1].kernel.at[rows].set(value)
  return (network[0], layers.Dense(kernel, network[1].bias), *network[2:])


class VerifyTest(parameterized.TestCase):
  def test_nothing_is_certified_by_the_description_of_another_network(self):
    certified = _certified(_DEEP, most=0.1)[1] > 0.0
    self.assertTrue(certified.any())
    other = layers.Dense(1.01 * _DEEP[-1].kernel, _DEEP[-1].bias)
    linear = tuple(each for each in _DEEP if not isinstance(each, layers.Relu))
    for described in ((*_DEEP[:-1], other), linear):
      model = _model(_DEEP)._replace(describe=lambda params, d=described: d)
      procedure = deterministic.Verification(
        "mine", verify.make(model), "linf", 0.025, 0.1, 10, num_classes=3
      )
      radii = procedure.certify(_DEEP, np.asarray(_IMAGES))[1]
      np.testing.assert_array_equal(radii, 0.0)

  def test_a_norm_that_is_not_that_of_the_bounds_is_refused(self):
    with self.assertRaisesRegex(errors.InputError, "norm='linf', but .* balls of 'l2'"):
      deterministic.Verification(
        "mine", verify.make(_model(_DEEP), norm="l2"), "linf", 0.1, 0.5, 8, num_classes=3
      )

  @parameterized.parameters(("linf", 1), ("l2", 2))
  def test_linear_classifier_has_its_distance_to_the_boundary(self, norm, dual):
    """min_j (z_y - z_j) / |w_y - w_j|_dual, without the box."""
    w, b = np.asarray(_LINEAR[1].kernel), np.asarray(_LINEAR[1].bias)
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
    predictions, radii = _certified(_LINEAR, norm=norm, box=False, most=1.0)
    np.testing.assert_array_equal(predictions, labels)
    np.testing.assert_allclose(radii, np.minimum(exact, 1.0), atol=2 / 2**10)
    self.assertTrue(np.all(radii <= np.asarray(exact) + 1e-5))
    self.assertGreater(np.std(radii), 0.001)

  @pytest.mark.long
  def test_radii_are_those_of_margins_and_linear_bounds_are_no_worse(self):
    predictions, radii = _certified(_DEEP, most=0.2, method="crown_ibp")

    def smallest(radii):
      ball = interval.Ball(_IMAGES, jnp.asarray(radii, jnp.float32))
      found = margins.certified(_DEEP, ball, jnp.asarray(predictions), method="crown_ibp")
      return np.asarray(margins.smallest(found, jnp.asarray(predictions)))

    self.assertTrue((smallest(radii) > -1e-6)[radii > 0.0].all())
    beyond = radii + 0.2 / 2**8
    self.assertFalse((smallest(beyond) > 0.0)[beyond < 0.2].any())
    _, of_ibp = _certified(_DEEP, most=0.2, method="ibp")
    self.assertTrue(np.all(radii >= of_ibp))
    self.assertGreater(float((radii - of_ibp).max()), 0.0)

  def test_pgd_fools_no_certificate(self):
    predictions, radii = _certified(_DEEP, most=0.2)
    attack = evasion.Pgd(epsilon=1.0, norm="linf", num_steps=20)
    labels = jnp.asarray(predictions)

    def loss(images):
      logits = layers.apply(_DEEP, images)
      own = jnp.take_along_axis(logits, labels[:, None], axis=1)
      return -margins.smallest(own - logits, labels).sum()

    for share, is_fooled in ((1.0, False), (20.0, True)):
      strength = jnp.asarray(share * radii, jnp.float32)[:, None, None, None]
      delta = evasion.pgd(attack, loss, _IMAGES, strength=strength)
      moved = layers.apply(_DEEP, _IMAGES + delta).argmax(axis=1) != labels
      self.assertEqual(bool(moved.any()), is_fooled)

  def test_weights_that_are_not_finite_certify_nothing(self):
    for network, method in ((_LINEAR, "ibp"), (_DEEP, "crown_ibp")):
      for value in (jnp.nan, jnp.inf):
        radii = _certified(_with_first(network, value), most=0.5, method=method)[1]
        np.testing.assert_array_equal(radii, 0.0)

  def test_logits_that_overflow_or_that_rounding_makes_equal_certify_nothing(self):
    for rows in (slice(None), 0):  # Infinite logits; then finite ones, that are all equal.
      network = _with_first(_LINEAR, 3e38, rows)
      logits = layers.apply(network, _IMAGES)
      self.assertEqual(bool(jnp.isfinite(logits).all()), rows == 0)
      np.testing.assert_array_equal(logits[:, 1:], logits[:, :-1])
      np.testing.assert_array_equal(_certified(network, most=0.5)[1], 0.0)

  def test_bounds_of_intervals_that_overflow_are_not_finite(self):
    """A ReLU whose inputs are no numbers is not one that is off."""
    first = layers.Dense(jnp.full((72, 10), -3e38, jnp.float32), jnp.zeros(10))
    second = layers.Dense(jnp.ones((10, 10)), jnp.zeros(10))
    network = (_DEEP[0], first, layers.Relu(), second, *_DEEP[2:])
    labels = jnp.zeros(8, jnp.int32)

    @jax.jit
    def found(network, images):
      return margins.bounds(network, interval.Ball(images, 1.0, box=False), labels)

    for bounds in found(network, _IMAGES):
      self.assertFalse(bool(jnp.isfinite(bounds[:, 1:]).any()))

  @parameterized.parameters(
    ({"norm": "l1"}, "norm is 'l1': use one of linf, l2"),
    ({"method": "sdp"}, "method is 'sdp': use one of ibp, crown_ibp, crown"),
    ({"method": "crown", "slopes": "steep"}, "slopes is 'steep': use one of zero"),
  )
  def test_refuses(self, options, message):
    with self.assertRaisesRegex(errors.InputError, message):
      verify.make(_model(_LINEAR), **options)

  def test_refuses_networks_without_bounds(self):
    bare = types.Model(_model(_LINEAR).init, layers.apply)
    with self.assertRaisesRegex(errors.InputError, "certificates by ibp: the network has"):
      verify.make(bare)
    flat = functools.partial(_certified, _LINEAR[:1], most=0.5)
    with self.assertRaisesRegex(
      errors.InputError, "the last layer is not Dense but Flatten"
    ):
      flat()


if __name__ == "__main__":
  absltest.main()
