"""Distortions where the smoothed classifier is linear: the distance to its hyperplane."""

import jax
import jax.numpy as jnp
import linear_classifier
import numpy as np
from absl.testing import absltest
from scipy import stats

from pacd_jax import evasion, losses
from pacd_jax.certification import distortion

_DISTANCES = np.array([0.05, 0.2, 0.4, -0.1])


def _within(attack, radius, wanted=1, wrong=(False, False, False, True)):
  return distortion.within(
    linear_classifier.apply,
    linear_classifier.PARAMS,
    jnp.asarray(linear_classifier.images(_DISTANCES)),
    jnp.full(4, wanted),
    jax.random.key(1),
    wrong=jnp.array(wrong),
    radius=radius,
    sigma=0.1,
    search=distortion.Search(num_votes=1000),
    attack=attack,
  )


def _distances(search, weights=1.0, seed=0, **options):
  params = weights * linear_classifier.WEIGHTS, weights * linear_classifier.BIAS
  return distortion.distances(
    linear_classifier.apply,
    params,
    jnp.asarray(linear_classifier.images(_DISTANCES)),
    jnp.ones(4, jnp.int32),
    jax.random.key(seed),
    search=search,
    **{"sigma": 0.1, **options},
  )


def _curved(params, images):
  flat = images.reshape(len(images), -1)
  return jnp.tanh(8.0 * (flat @ params[0] - 0.5)) @ params[1]


class DistortionTest(absltest.TestCase):
  def test_by_default_it_is_smoothadv_s_pgd(self):
    """At the first radius, under the first noise: the paper's Table 5 is made by it."""
    draw = jax.random.normal
    params = draw(jax.random.key(3), (9, 5)) / 3.0, draw(jax.random.key(4), (5, 3))
    images = jax.random.uniform(jax.random.key(5), (6, 3, 3, 1))
    labels = _curved(params, images).argmax(axis=1)
    search = distortion.Search(num_votes=20, max_radius=2.0, num_halvings=0)
    given = _curved, params, images, labels
    found = distortion.distances(
      *given, jax.random.key(0), sigma=0.25, search=search, keeps=True
    )
    key, _ = jax.random.split(jax.random.key(0))
    attack_key, _ = jax.random.split(jax.random.fold_in(key, 0))
    adversary = losses.smoothadv(
      _curved, sigma=0.25, attack=evasion.Pgd(2.0, "l2", 10), num_noise_samples=8
    ).adversary
    attacked = jax.jit(adversary)(params, images, labels, attack_key, 1.0)
    attacked_ones = np.asarray(found.distance) > 0.0  # The others are wrong as they are.
    self.assertGreater(attacked_ones.sum(), 2)
    np.testing.assert_allclose(
      found.delta[attacked_ones], (attacked - images)[attacked_ones], atol=1e-6
    )

  def test_is_the_distance_to_the_hyperplane(self):
    """Less than the bisection's last interval, and the votes' noise, above it."""
    search = distortion.Search(num_votes=4000, max_radius=0.5, num_halvings=9)
    found, is_found, *_ = _distances(search)
    np.testing.assert_array_equal(is_found, True)
    np.testing.assert_allclose(found[:3], _DISTANCES[:3], atol=0.5 / 2**9 + 0.006)
    self.assertEqual(found[3], 0.0)  # Wrong as it is.

  def test_a_radius_that_is_too_small_finds_nothing(self):
    search = distortion.Search(max_radius=0.1, num_votes=2000)
    found, is_found, *_ = _distances(search)
    np.testing.assert_array_equal(is_found, [True, False, False, True])
    np.testing.assert_allclose(found[1:3], 0.1)
    self.assertBetween(float(found[0]), 0.04, 0.065)

  def test_the_scale_of_logits_does_not_matter(self):
    search = distortion.Search(num_votes=500, max_radius=0.5)
    small, large = (_distances(search, scale).distance for scale in (0.1, 2.0))
    np.testing.assert_allclose(small, large, atol=0.01)

  def test_by_carlini_and_wagner(self):
    """Once, from near the images; the votes' own boundary is then found on its way."""
    search = distortion.Search(num_votes=4000, max_radius=2.0, num_halvings=9)
    attack = evasion.CarliniWagner(num_searches=5, num_steps=60, first_c=0.1)
    found = _distances(search, attack=attack, keeps=True)
    np.testing.assert_array_equal(found.is_found, True)
    np.testing.assert_allclose(found.distance[:3], _DISTANCES[:3], atol=0.02)
    sizes = np.sqrt((np.asarray(found.delta) ** 2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(sizes, found.distance, atol=1e-6)

  def test_without_noise_it_is_of_the_base_classifier(self):
    """In l_inf the distance is margin / |w|_1; there are no votes to be in doubt."""
    search = distortion.Search(1, 1, max_radius=0.5, num_halvings=10)
    attack = evasion.ProjectedGradient("linf", num_steps=2)
    found = _distances(search, attack=attack, sigma=0.0)
    expected = np.maximum(5.0 * _DISTANCES / 7.0, 0.0)
    np.testing.assert_allclose(found.distance, expected, atol=0.5 / 2**10 + 1e-6)

  def test_one_attack_within_a_radius(self):
    found = _within(evasion.FastGradient("l2"), 0.3)
    np.testing.assert_array_equal(found.is_found, [True, True, False, True])
    np.testing.assert_allclose(found.distance, [0.3, 0.3, 0.3, 0.0], rtol=1e-5)

  def test_towards_a_class(self):
    """The last image is of it already, and class 1 is where the others are."""
    found = _within(evasion.FastGradient("l2", targeted=True), 0.3, wanted=0)
    np.testing.assert_array_equal(found.is_found, [True, True, False, True])
    attack = evasion.FastGradient("l2", targeted=True)
    found = _within(attack, 0.3, wanted=1, wrong=(True, True, True, False))
    np.testing.assert_array_equal(found.distance[:3], 0.0)
    self.assertTrue(found.is_found.all())

  def test_no_perturbation_is_no_success(self):
    """However often the votes on the image itself are unlucky: here, each third one is."""
    search = distortion.Search(num_votes=1, max_radius=0.01, num_halvings=11)
    attack = evasion.CarliniWagner(num_searches=3, num_steps=40, first_c=0.1)
    of_keys = [_distances(search, attack=attack, seed=seed) for seed in range(4)]
    wrong, is_found, distance = (
      np.stack([getattr(each, name) for each in of_keys])
      for name in ("wrong", "is_found", "distance")
    )
    self.assertGreater((~wrong).sum(), 6)
    np.testing.assert_array_equal(is_found, wrong)
    np.testing.assert_allclose(distance, np.where(wrong, 0.0, 0.01))
    found = _within(evasion.FastGradient("l2"), 0.0)
    np.testing.assert_array_equal(found.is_found, [False, False, False, True])

  def test_what_is_wrong_is_given(self):
    """There is no other vote on the images as they are."""
    found = _within(evasion.FastGradient("l2"), 0.01, wrong=(True, False, False, False))
    np.testing.assert_array_equal(found.is_found, [True, False, False, True])
    np.testing.assert_allclose(found.distance, [0.0, 0.01, 0.01, 0.01], rtol=1e-4)

  def test_votes_are_as_many_as_asked_for_and_of_the_smoothed_classifier(self):
    """P = Phi(distance / sigma) for the linear classifier."""
    for num in (30, 100, 300, 20_050):
      votes = distortion.num_votes(
        linear_classifier.apply,
        linear_classifier.PARAMS,
        jnp.asarray(linear_classifier.images([0.1, -0.05])),
        jax.random.key(num),
        sigma=0.2,
        num=num,
      )
      np.testing.assert_array_equal(votes.sum(axis=1), num)
    shares = stats.norm.cdf([0.5, -0.25])
    np.testing.assert_allclose(votes[:, 1] / 20_050, shares, atol=0.015)


if __name__ == "__main__":
  absltest.main()
