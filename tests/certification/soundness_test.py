"""Tests of sound certificates: the theorem's terms, files, and who is not fooled."""

import json
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from scipy.stats import norm

from pacd_jax import errors
from pacd_jax.certification import (
  certificates,
  certify,
  confidence,
  provenance,
  rounded_gaussian,
  sampling,
  soundness,
)
from pacd_jax.data import arrays
from pacd_jax.types import Certificate

SETTINGS = dict(sigma=0.25, n0=20, n=200, alpha=0.01, batch_size=50)


def _above(threshold, images):
  """Class 1 where the first pixel is above a threshold."""
  pixel = images[:, 0, 0, 0]
  return jnp.stack([pixel <= threshold, pixel > threshold], axis=-1).astype(jnp.float32)


def _certify(images, apply=_above, params=0.5, **change):
  return certify.certify(apply, params, images, jax.random.key(0), **{**SETTINGS, **change})


def _images(*pixels):
  return arrays.to_float(np.array(pixels, np.uint8).reshape(-1, 1, 1, 1))


class TermsTest(parameterized.TestCase):
  @parameterized.parameters((0.25, 255), (1.0, 255), (0.12, 510), (0.01, 255 * 16))
  def test_levels(self, sigma, expected):
    self.assertEqual(soundness.levels(sigma), expected)
    self.assertGreaterEqual(soundness.std(sigma), 32.0)

  @parameterized.parameters(0.0, 0.3, 2.5, -0.1)
  def test_radius_is_that_of_a_lower_probability(self, ordinary):
    lowered = soundness.radius(ordinary, sigma=0.5, slack=1e-3)
    p_a = norm.cdf(ordinary / 0.5) - 1e-3
    np.testing.assert_allclose(lowered, 0.5 * norm.ppf(p_a), rtol=1e-9)
    self.assertEqual(soundness.radius(-np.inf, sigma=0.5), -np.inf)

  @pytest.mark.long
  def test_slack_covers_images_at_every_sigma(self):
    for sigma in (1e-5, 0.003, 0.12, 0.25, 0.5, 1.0, 16.0):
      soundness.check_images(np.zeros((1, 224, 224, 3), np.uint8), sigma)

  def test_certificate_near_one_half_abstains(self):
    votes = np.array([3, 4])
    for radius, prediction in ((1e-10, -1), (1e-8, 1)):
      found = soundness.certificate(Certificate(1, radius, votes), 1.0)
      self.assertEqual(found.prediction, prediction)
      self.assertBetween(found.radius, 0.0, 1e-8)

  @parameterized.product(mode=sampling.RULES.names)
  def test_certificates_are_those_of_the_votes_less_the_slack(self, mode):
    settings = {**SETTINGS, "n": 2000, "mode": mode}
    for sound in (False, True):
      rule = certify.rule_of(certify.Settings(**settings, sound=sound))
      self.assertEqual("sound" in rule.sidecar, sound)
    predictions, radii, counts = _certify(_images(90, 200), sound=True, n=2000, mode=mode)
    sidecar = {**rule.sidecar, "sigma": 0.25, "n": 2000, "alpha": 0.01}
    np.testing.assert_array_equal(
      radii, np.maximum(provenance.supported_radius(sidecar, counts, predictions), 0.0)
    )
    ordinary = provenance.supported_radius(
      {name: sidecar[name] for name in sidecar if name != "sound"}, counts, predictions
    )
    slope = 1e-9 / norm.pdf(ordinary / 0.25) * 0.25
    np.testing.assert_allclose(ordinary - radii, slope, rtol=1e-3)

  def test_votes_are_of_the_exact_distribution(self):
    n, pixel, threshold = 20_000, 100, 137
    _, _, counts = _certify(
      _images(pixel), params=(threshold + 0.5) / 255, sound=True, n=n, batch_size=5000
    )
    weights = rounded_gaussian.distribution(soundness.std(0.25)).weights
    first = len(weights) // 2 + threshold + 1 - pixel
    p = sum(weights[first:]) / 2**64
    self.assertLess(abs(counts[0, 1] - n * p), 4.0 * np.sqrt(n * p * (1.0 - p)))


class FooledTest(absltest.TestCase):
  """Of what the float32 sum of a black image and noise shows, and a sound sum does not.

  As in Voracek and Hein (2023), section 3: here noise is sigma sqrt(2) erfinv(u), with u
  one of 2^23 numbers 2^-22 apart. Class 1 is where u can be one of these in every pixel.
  """

  SIGMA = 0.5

  def _is_black(self, unused_params, images):
    flat = images.reshape(len(images), -1)
    u = jax.scipy.special.erf(flat / (self.SIGMA * 2.0**0.5))
    part = u * 2.0**22 - jnp.floor(u * 2.0**22)
    can_be = (jnp.abs(part - 0.25) < 0.2) | (jnp.abs(u) > 0.125)
    is_black = can_be.all(axis=1)
    return jnp.stack([~is_black, is_black], axis=-1).astype(jnp.float32)

  def _two(self, sound):
    """Certificates of black, and of an image that is one step lighter in 64 pixels."""
    pixels = np.stack([np.zeros((8, 8, 1)), np.ones((8, 8, 1))]).astype(np.uint8)
    settings = dict(sigma=self.SIGMA, n=5000, alpha=0.001, batch_size=1000, sound=sound)
    return _certify(arrays.to_float(pixels), self._is_black, (), **settings)[:2]

  def test_ordinary_certificates_contradict_each_other(self):
    (black, light), (radius, other) = self._two(sound=False)
    self.assertEqual((black, light), (1, 0))
    distance = np.sqrt(64.0) / 255.0
    self.assertGreater(min(radius, other), 30.0 * distance)

  def test_sound_certificates_do_not(self):
    (black, light), radii = self._two(sound=True)
    self.assertEqual(black, light)
    self.assertGreater(min(radii), 1.0)  # Of class 0: p_A is what it is, without x's bits.


class FilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory())) / "seed_0"
    self.images = np.array([10, 200, 90, 160], np.uint8).reshape(-1, 1, 1, 1)

  def _to_files(self, path=None, on_point=None, **change):
    certify.certify_to_files(
      _above,
      np.float32(0.5),
      self.images,
      np.array([0, 1, 0, 1]),
      np.array([3, 0, 2]),
      jax.random.key(1),
      path or self.path,
      seed=0,
      on_point=on_point,
      **{**SETTINGS, "sound": True, **change},
    )

  def test_sidecar_and_radii(self):
    self._to_files()
    record = certificates.read(self.path)
    own = {name: record.sidecar[name] for name in ("bound", "sound", "levels", "slack")}
    bound = "clopper_pearson_one_sided_sound"
    self.assertEqual(own, {"bound": bound, "sound": True, "levels": 255, "slack": 1e-9})
    votes = record.counts[range(3), record.label]
    ordinary = confidence.radius(votes, 200, sigma=0.25, alpha=0.01)
    np.testing.assert_allclose(record.radius, ordinary, rtol=1e-6)
    np.testing.assert_array_less(record.radius, ordinary)

  def test_resumed_files_are_the_same(self):
    def stop(done, *unused):
      if done == 2:
        raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      self._to_files(on_point=stop)
    self._to_files()
    whole = self.path.with_name("seed_1")
    self._to_files(whole)
    votes = [path.with_suffix(".counts.tsv").read_text() for path in (self.path, whole)]
    self.assertEqual(*votes)

  def test_ordinary_files_do_not_name_it_and_are_not_resumed(self):
    self._to_files(sound=False)
    sidecar = json.loads(self.path.with_suffix(".json").read_text())
    self.assertNoCommonElements(sidecar, ("sound", "levels", "slack"))
    with self.assertRaisesRegex(errors.InputError, "sound was None, now True"):
      self._to_files()

  @parameterized.parameters(
    {"slack": 1e-12},
    {"levels": 510},
    {"sound": False},
    {"dtype": "bfloat16"},
    {"bound": "clopper_pearson_one_sided"},
  )
  def test_other_sidecars_are_refused(self, **change):
    self._to_files()
    sidecar = json.loads(self.path.with_suffix(".json").read_text())
    provenance.checked(sidecar)
    with self.assertRaises(ValueError):
      provenance.checked({**sidecar, **change})
    (name, _), *_ = change.items()
    if name not in ("dtype", "bound"):
      with self.assertRaises(ValueError):
        provenance.checked({key: sidecar[key] for key in sidecar if key != name})


class RefusalsTest(parameterized.TestCase):
  @parameterized.parameters(
    ({"dtype": "bfloat16"}, r"sound=True with dtype='bfloat16'.* use float32"),
    ({"sigma": 1e-6}, r"sound=True with sigma=1e-06.*1e-05 to 16"),
    ({"sigma": 20.0}, r"sound=True with sigma=20.0"),
  )
  def test_settings(self, change, message):
    with self.assertRaisesRegex(errors.InputError, message):
      _certify(_images(3), sound=True, **change)

  def test_images_of_more_than_8_bits(self):
    images = _images(3, 4, 5)
    images[1] += 1e-6
    message = r"images\[1, 0, 0, 0\] is 0\.01568\d+, no multiple of 1/255.*8 bits first"
    with self.assertRaisesRegex(errors.InputError, message):
      _certify(images, sound=True)

  def test_images_too_large(self):
    large = np.broadcast_to(np.uint8(0), (1, 1000, 1000, 3))
    with self.assertRaisesRegex(errors.InputError, "images of 3000000 numbers: .* up to "):
      soundness.check_images(large, 0.25)


if __name__ == "__main__":
  absltest.main()
