"""FGSM, PGD and Carlini-Wagner where their answers are known: linear classifiers."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import evasion

_WEIGHTS = jax.random.normal(jax.random.key(0), (9, 4))
_IMAGES = jax.random.uniform(jax.random.key(1), (6, 3, 3, 1), minval=0.4, maxval=0.6)


def _apply(params, images):
  return images.reshape(len(images), -1) @ params


_LOGITS = np.asarray(_apply(_WEIGHTS, _IMAGES), np.float64)
_LABELS = jnp.asarray(_LOGITS.argmax(1))
_BASE = evasion.base(_apply, _WEIGHTS)
_KEY = jax.random.key(2)
_CW = evasion.CarliniWagner(num_searches=9, num_steps=500, learning_rate=2e-3, first_c=0.01)
_ALL = (
  evasion.FastGradient("linf"),
  evasion.FastGradient("l2"),
  evasion.ProjectedGradient("linf", num_steps=3),
  evasion.ProjectedGradient("l2", num_steps=3, random_start=True),
  _CW._replace(num_steps=20, num_searches=3),
)


def _attacked(attack, radius, labels=_LABELS, classifier=_BASE, images=_IMAGES):
  attacked = jax.jit(
    lambda x: attack(classifier, x, labels, jax.random.clone(_KEY), radius)
  )
  return np.asarray(attacked(images), np.float64)


def _sizes(delta, order):
  return np.linalg.norm(delta.reshape(len(delta), -1), ord=order, axis=1)


def _loss(delta, labels=_LABELS):
  images = _IMAGES + jnp.asarray(delta, jnp.float32)
  log_probs = jax.nn.log_softmax(_apply(_WEIGHTS, images))
  return -np.asarray(log_probs)[np.arange(6), np.asarray(labels)]


def _distances(order, wanted=None):
  """To the nearest other class, or to a wanted one, over the dual norm, in float64."""
  weights = np.asarray(_WEIGHTS, np.float64)
  found = []
  for logits, label in zip(_LOGITS, np.asarray(_LABELS), strict=True):
    to = np.full(4, np.inf)
    for other in range(4):
      if other != label:
        step = weights[:, other] - weights[:, label]
        to[other] = (logits[label] - logits[other]) / np.linalg.norm(step, order)
    if wanted is None:
      found.append(to.min())
    else:  # All other classes are to be overtaken: a bound from below.
      found.append(0.0 if label == wanted else to[wanted])
  return np.array(found)


class AllTest(parameterized.TestCase):
  @parameterized.parameters(*range(len(_ALL)))
  def test_radius_0_changes_nothing(self, number):
    np.testing.assert_array_equal(_attacked(_ALL[number], 0.0), 0.0)

  @parameterized.product(number=tuple(range(len(_ALL))), radius=(0.05, 2.0))
  def test_stays_in_the_ball_and_the_box(self, number, radius):
    attack = _ALL[number]
    delta = _attacked(attack, radius)
    order = np.inf if attack.norm == "linf" else 2
    self.assertLessEqual(_sizes(delta, order).max(), radius * (1 + 1e-6))
    self.assertBetween((np.asarray(_IMAGES) + delta).min(), -1e-6, 1.0)
    self.assertLessEqual((np.asarray(_IMAGES) + delta).max(), 1.0 + 1e-6)

  def test_each_image_has_its_own_radius(self):
    radii = jnp.array([0.0, 0.01, 0.02, 0.03, 0.04, 0.05])
    for attack in (evasion.FastGradient("linf"), evasion.ProjectedGradient("linf")):
      np.testing.assert_allclose(_sizes(_attacked(attack, radii), np.inf), radii, rtol=1e-4)

  @parameterized.parameters("linf", "l2")
  def test_pgd_s_loss_is_at_least_fgsm_s(self, norm):
    """Of a smoothed linear classifier, whose loss is curved."""
    noise = 0.2 * jax.random.normal(jax.random.key(3), (4, *_IMAGES.shape))
    seen = evasion.smoothed(_apply, _WEIGHTS, noise)

    def loss(attack):
      delta = jnp.asarray(_attacked(attack, 0.2, classifier=seen), jnp.float32)
      return -np.asarray(evasion.margin(seen(_IMAGES + delta), _LABELS, targeted=False))

    fast, steps = evasion.FastGradient(norm), evasion.ProjectedGradient(norm, num_steps=20)
    self.assertGreater(loss(steps).mean(), loss(fast).mean() - 1e-6)

  @parameterized.product(
    kind=(evasion.FastGradient, evasion.ProjectedGradient), norm=("l2", "linf")
  )
  def test_targeted_ones_lower_the_wanted_class_s_loss(self, kind, norm):
    wanted = (_LABELS + 1) % 4
    delta = _attacked(kind(norm, targeted=True), 0.1, wanted)
    self.assertTrue((_loss(delta, wanted) < _loss(0.0 * delta, wanted) - 0.01).all())


class LinearTest(parameterized.TestCase):
  @parameterized.parameters(evasion.FastGradient, evasion.ProjectedGradient)
  def test_l_inf_distance_is_margin_over_l1_norm(self, kind):
    """Of two classes: a step just short of the distance fails, one just beyond succeeds."""
    two = _WEIGHTS[:, :2]
    logits = np.asarray(_apply(two, _IMAGES), np.float64)
    labels = jnp.asarray(logits.argmax(1))
    norm = np.abs(np.asarray(two[:, 0] - two[:, 1], np.float64)).sum()
    distance = np.abs(logits[:, 0] - logits[:, 1]) / norm
    for share, fooled in ((0.99, False), (1.01, True)):
      given = kind("linf"), jnp.asarray(share * distance, jnp.float32), labels
      delta = _attacked(*given, evasion.base(_apply, two))
      after = _apply(two, _IMAGES + jnp.asarray(delta, jnp.float32)).argmax(1)
      np.testing.assert_array_equal(after != labels, fooled)

  def test_carlini_and_wagner_find_the_distance(self):
    """Within 1 % of margin / |w_i - w_j|_2, and never under it."""
    delta = _attacked(_CW, 10.0)
    ratio = _sizes(delta, 2) / _distances(2)
    self.assertBetween(ratio.min(), 1.0 - 1e-4, 1.01)
    self.assertLess(ratio.max(), 1.01)
    after = _apply(_WEIGHTS, _IMAGES + jnp.asarray(delta, jnp.float32)).argmax(1)
    self.assertTrue((after != _LABELS).all())

  def test_carlini_and_wagner_towards_a_class(self):
    wanted = (_LABELS + 1) % 4
    attack = _CW._replace(targeted=True)
    delta = _attacked(attack, 10.0, wanted)
    after = _apply(_WEIGHTS, _IMAGES + jnp.asarray(delta, jnp.float32)).argmax(1)
    found = _sizes(delta, 2) > 0.0
    self.assertGreater(found.sum(), 3)  # Others are not in reach within the box.
    np.testing.assert_array_equal(after[found], wanted[found])

  def test_confidence_is_the_margin_of_the_wrong_class(self):
    sizes = []
    for confidence in (0.0, 0.2):
      delta = _attacked(_CW._replace(confidence=confidence), 10.0)
      logits = _BASE(_IMAGES + jnp.asarray(delta, jnp.float32))
      margin = np.asarray(evasion.margin(logits, _LABELS, targeted=False))
      found = _sizes(delta, 2) > 0.0
      self.assertLess(margin[found].max(), -confidence + 1e-5)
      sizes.append(_sizes(delta, 2)[found].mean())
    self.assertGreater(sizes[1], sizes[0])

  def test_none_within_the_radius_is_no_change(self):
    np.testing.assert_array_equal(_attacked(_CW, 0.5 * _distances(2).min()), 0.0)

  def test_an_image_does_not_depend_on_the_others(self):
    """Searches stop early, each at its own step."""
    attack = _CW._replace(num_steps=60, num_searches=3, first_c=1.0)
    whole = _attacked(attack, 10.0)
    some = _attacked(attack, 10.0, _LABELS[:2], images=_IMAGES[:2])
    np.testing.assert_allclose(whole[:2], some, atol=1e-6)

  def test_the_margin_of_copies_is_of_their_mean(self):
    logits = jax.random.normal(jax.random.key(4), (5, 6, 4))
    probs = np.asarray(jax.nn.softmax(logits), np.float64).mean(0)
    own = probs[np.arange(6), np.asarray(_LABELS)]
    probs[np.arange(6), np.asarray(_LABELS)] = 0.0
    expected = np.log(own) - np.log(probs.max(1))
    found = evasion.margin(logits, _LABELS, targeted=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(
      evasion.margin(logits, _LABELS, targeted=True), -expected, atol=1e-5
    )


if __name__ == "__main__":
  absltest.main()
