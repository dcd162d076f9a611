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


_LABELS = _apply(_PARAMS, _IMAGES).argmax(1)


def _ours(attack, radius):
  classifier = evasion.base(_apply, _PARAMS)
  return np.asarray(attack(classifier, _IMAGES, _LABELS, jax.random.key(3), radius))


def _theirs(attack, radius):
  with jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    model = foolbox.JAXModel(lambda x: _apply(_PARAMS, x), bounds=(0, 1))
    given = eagerpy.astensor(_IMAGES), eagerpy.astensor(_LABELS)
    raw, clipped, is_found = attack(model, *given, epsilons=radius)
  return np.asarray((clipped if radius else raw).raw - _IMAGES), np.asarray(is_found.raw)


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
    found, _ = _theirs(theirs, 0.1)
    ours = _ours(evasion.ProjectedGradient(norm, num_steps=5), 0.1)
    inside = (np.abs(np.asarray(_IMAGES) - 0.5) < 0.4).all(axis=(1, 2, 3))
    kept = np.ones(_NUM, bool) if norm == "linf" else inside
    np.testing.assert_allclose(ours[kept], found[kept], atol=1e-5)
    np.testing.assert_allclose(_sizes(ours), _sizes(found), rtol=0.05)

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
