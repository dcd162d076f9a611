"""Attacks at test time beside foolbox's, on the same network and images."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import evasion

with warnings.catch_warnings():
  warnings.simplefilter("ignore")
  import eagerpy
  import foolbox

_NUM = 8
_FIRST = jax.random.normal(jax.random.key(0), (16, 12)) / 4.0
_SECOND = jax.random.normal(jax.random.key(1), (12, 3))
_PARAMS = _FIRST, _SECOND
_IMAGES = jax.random.uniform(jax.random.key(2), (_NUM, 4, 4, 1))


def _apply(params, images):
  first, second = params
  return 4.0 * jnp.tanh(images.reshape(len(images), -1) @ first - 0.2) @ second


def _labels(images):
  return _apply(_PARAMS, images).argmax(1)


def _ours(attack, radius, images=_IMAGES):
  classifier = evasion.base(_apply, _PARAMS)
  labels = _labels(images)
  return np.asarray(attack(classifier, images, labels, jax.random.key(3), radius))


def _theirs(attack, radius, images=_IMAGES):
  with jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    model = foolbox.JAXModel(lambda x: _apply(_PARAMS, x), bounds=(0, 1))
    given = eagerpy.astensor(images), eagerpy.astensor(_labels(images))
    raw, clipped, is_found = attack(model, *given, epsilons=radius)
  return np.asarray((clipped if radius else raw).raw - images), np.asarray(is_found.raw)


def _sizes(delta):
  return np.sqrt((delta**2).sum(axis=(1, 2, 3)))


class FoolboxTest(parameterized.TestCase):
  @parameterized.parameters("linf", "l2")
  def test_fast_gradient(self, norm):
    theirs = {
      "linf": foolbox.attacks.LinfFastGradientAttack(),
      "l2": foolbox.attacks.L2FastGradientAttack(),
    }[norm]
    found, _ = _theirs(theirs, 0.1)
    np.testing.assert_allclose(_ours(evasion.FastGradient(norm), 0.1), found, atol=1e-6)

  @parameterized.parameters("linf", "l2")
  def test_projected_gradient(self, norm):
    """The same up to the box, to which foolbox's comes after the ball."""
    options = {"rel_stepsize": 2.0 / 5, "steps": 5, "random_start": False}
    theirs = {
      "linf": foolbox.attacks.LinfPGD(**options),
      "l2": foolbox.attacks.L2PGD(**options),
    }[norm]
    attack = evasion.ProjectedGradient(norm, num_steps=5)
    found, _ = _theirs(theirs, 0.1)
    np.testing.assert_allclose(_sizes(_ours(attack, 0.1)), _sizes(found), rtol=0.05)
    inside = 0.3 + 0.4 * _IMAGES
    found, _ = _theirs(theirs, 0.1, inside)
    self.assertGreater(_sizes(found).min(), 0.0999)
    np.testing.assert_allclose(_ours(attack, 0.1, inside), found, atol=1e-5)

  @pytest.mark.long
  def test_carlini_and_wagner(self):
    options = {"steps": 30, "confidence": 0.0, "abort_early": False}
    theirs = foolbox.attacks.L2CarliniWagnerAttack(
      binary_search_steps=3, stepsize=0.02, initial_const=1.0, **options
    )
    found, is_found = _theirs(theirs, None)
    ours = _ours(evasion.CarliniWagner(False, 3, 30, 0.02, 1.0), 100.0)
    np.testing.assert_array_equal(is_found, True)
    self.assertGreater(_sizes(ours).min(), 0.0)
    difference = np.abs(_sizes(ours) / _sizes(found) - 1.0)
    self.assertLess(np.median(difference), 1e-4)
    self.assertLess(difference.max(), 0.05)  # Where ours stopped early.


if __name__ == "__main__":
  absltest.main()
