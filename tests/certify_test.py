"""Tests of certification against SciPy and the one classifier with a known radius."""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from scipy.stats import binom, norm, poisson

from pacd_jax import certificates, certify, confidence, errors

SETTINGS = dict(sigma=0.1, n0=10, n=100, alpha=0.001, batch_size=30)
WEIGHTS, BIAS = np.array([3.0, 4.0], np.float32), np.float32(-3.5)  # |w| = 5.
PARAMS = WEIGHTS, BIAS


def _linear(params, images):
  """f(x) = 1 if w.x + b > 0 else 0, as logits of two classes."""
  weights, bias = params
  score = images.reshape(images.shape[0], -1) @ weights + bias
  return jnp.stack([-score, score], axis=-1)


def _images(distances):
  """2x1x1 images at signed distances from w.x + b = 0, on the line through 1/2, 1/2."""
  unit = (WEIGHTS / 5.0).astype(np.float64)
  points = 0.5 + np.asarray(distances)[:, None] * unit[None]
  return points.reshape(-1, 2, 1, 1).astype(np.float32)


def _noise(key, num_samples, shape):
  """The noise as documented: batch b of fold_in(key, b), as many as are counted."""
  size = min(SETTINGS["batch_size"], num_samples)
  batches = [
    jax.random.normal(jax.random.fold_in(key, b), (size, *shape), jnp.float32)
    for b in range(-(-num_samples // size))
  ]
  return SETTINGS["sigma"] * np.concatenate(batches)[:num_samples]


class CertifyTest(parameterized.TestCase):
  @parameterized.parameters(10, 29, 30, 31, 100)
  def test_counts_exactly_the_documented_samples(self, n):
    settings = {**SETTINGS, "n0": 7, "n": n}
    images = _images([0.02, -0.01, 0.3])
    key = jax.random.key(3)
    results = certify.certify(_linear, PARAMS, images, key, **settings)
    prediction, radius, counts = results
    self.assertEqual([x.dtype for x in results], [np.dtype(t) for t in ("i8", "f8", "i8")])
    for i, image in enumerate(images):
      votes = []
      for fold, num_samples in enumerate((7, n)):
        point_key = jax.random.fold_in(jax.random.fold_in(key, i), fold)
        noisy = image[None] + _noise(point_key, num_samples, image.shape)
        chosen = np.argmax(_linear(PARAMS, noisy), axis=-1)
        votes.append(np.bincount(chosen, minlength=2))
      expected = confidence.certificate(*votes, sigma=0.1, alpha=0.001)
      np.testing.assert_array_equal(counts[i], expected.counts)
      self.assertEqual(counts[i].sum(), n)
      self.assertEqual((prediction[i], radius[i]), expected[:2])

  def test_noise_is_not_clipped(self):
    def above_one(unused_params, images):
      pixel = images.reshape(-1)
      return jnp.stack([pixel <= 1.0, pixel > 1.0], axis=-1)

    certify_point = certify.make_certifier(above_one, **{**SETTINGS, "n": 10_000})
    counts = certify_point((), np.ones((1, 1, 1)), jax.random.key(0)).counts
    self.assertBetween(counts[1], 4_800, 5_200)  # Half, four standard deviations.

  def test_compiles_once(self):
    traces = []

    def apply(params, images):
      traces.append(images.shape)
      return _linear(params, images)

    def run(sigma, bias):
      certify_point = certify.make_certifier(apply, **{**SETTINGS, "sigma": sigma})
      certify_point((WEIGHTS, bias), _images([0.1])[0], jax.random.key(0))
      return len(traces)

    self.assertEqual(run(0.1, BIAS), run(0.2, BIAS + np.float32(1.0)))

  def test_logits_that_are_not_finite(self):
    def root(unused_params, images):
      return jnp.sqrt(images.reshape(-1, 1)) * jnp.ones((1, 2))

    key, image, bad = jax.random.key(1), np.zeros((1, 1, 1), np.float32), 0
    for fold, num_samples in ((0, 10), (1, 100)):
      noise = _noise(jax.random.fold_in(key, fold), num_samples, image.shape)
      bad += np.sum(noise < 0.0)
    message = f"certify, point 5: {bad} of 110 noisy samples have non-finite logits"
    with self.assertRaisesRegex(errors.NonFiniteError, message):
      certify.make_certifier(root, **SETTINGS)((), image, key, point=5)

  @parameterized.parameters(
    {"sigma": 0.0},
    {"sigma": float("nan")},
    {"n0": 0},
    {"n": 0},
    {"batch_size": 0},
    {"alpha": 0.0},
    {"alpha": 1.0},
    {"n": 9},
  )
  def test_refuses_settings(self, **change):
    (name, value), *_ = change.items()
    with self.assertRaisesRegex(errors.InputError, f"certify: .*{name}={value}"):
      certify.make_certifier(_linear, **{**SETTINGS, **change})


class LinearClassifierTest(absltest.TestCase):
  """A smoothed linear classifier's radius is the distance |w.x + b| / |w| to its plane.

  2,000 points, t sigma from the plane on either side in turn: votes for the side they
  are on are Binomial(n, Phi(t)), which makes the law of the certified radius exact.
  Single points cannot all have a radius within 5 % or 0.02 sigma of the distance: the
  bound lies 3.1 standard deviations of the votes low and a few more are chance.
  """

  N0, N, ALPHA = 10_000, 100_000, 0.001

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.t = (np.arange(2000) + 0.5) / 2000 * 4.5
    cls.p = norm.cdf(cls.t)
    side = np.arange(2000) % 2  # The class on the point's side of the plane.
    settings = dict(sigma=0.1, n0=cls.N0, n=cls.N, alpha=cls.ALPHA, batch_size=10_000)
    images = _images(0.1 * cls.t * (2 * side - 1))
    prediction, radius, cls.counts = certify.certify(
      _linear, PARAMS, images, jax.random.key(0), **settings
    )
    cls.radius, cls.wrong = radius / 0.1, (prediction != side) & (prediction >= 0)
    cls.tolerance = np.maximum(0.05 * cls.t, 0.02)

  def test_above_the_distance_with_probability_at_most_alpha(self):
    bounds = confidence.clopper_pearson_lower(np.arange(self.N + 1), self.N, self.ALPHA)
    fewest = np.searchsorted(bounds, self.p, side="right")  # Votes that claim too much.
    probability = binom.sf(fewest - 1, self.N, self.p)
    self.assertLessEqual(probability.max(), self.ALPHA * (1.0 + 1e-9))  # Rounding.
    # So 1.5 of the 2,000 are expected; one key in a thousand has more than this bound.
    above = (self.radius > self.t) | self.wrong
    self.assertLessEqual(above.sum(), poisson.isf(1e-3, probability.sum()))

  def test_below_the_distance_by_little_on_average(self):
    counts = np.arange(self.N + 1)
    bounds = confidence.clopper_pearson_lower(counts, self.N, self.ALPHA)
    radii = np.maximum(norm.ppf(bounds), 0.0)
    for t in np.arange(0.0, 3.51, 0.1):  # Exact, at every distance short of the cap's.
      mean = binom.pmf(counts, self.N, norm.cdf(t)) @ (t - radii)
      self.assertLessEqual(mean, max(0.05 * t, 0.02))
    for start in np.arange(0.0, 3.5, 0.25):  # Measured.
      some = (self.t >= start) & (self.t < start + 0.25)
      shortfall = (self.t - self.radius)[some].mean()
      self.assertLessEqual(shortfall, self.tolerance[some].mean())

  def test_below_the_distance_by_more_for_as_few_points_as_must_be(self):
    # P[radius < t - tolerance], by the duality of bounds and binomial tests, not by
    # ours; n0 votes for the wrong class lead to abstention, and that is a miss too.
    least = norm.cdf(self.t - self.tolerance)
    miss = binom.cdf(binom.isf(self.ALPHA, self.N, least), self.N, self.p)
    miss = 1.0 - binom.sf(self.N0 // 2, self.N0, self.p) * (1.0 - miss)
    miss = np.where(self.t > self.tolerance, miss, 0.0)
    missed = self.t - self.radius > self.tolerance
    for start, end in ((0.0, 0.6), (0.6, 2.8), (2.8, 3.5), (3.5, 4.5)):
      some = (self.t >= start) & (self.t < end)
      law, count = miss[some], missed[some].sum()
      slack = 4.0 * np.sqrt(np.sum(law * (1.0 - law)))  # Four standard deviations.
      self.assertBetween(count, law.sum() - slack, law.sum() + slack)
      if start == 0.6:
        self.assertEqual(count, 0)

  def test_cap(self):
    cap = confidence.largest_radius(1.0, self.N, self.ALPHA)
    unanimous = self.counts.max(axis=1) == self.N
    self.assertTrue(unanimous.any())
    np.testing.assert_allclose(self.radius[unanimous], cap, rtol=1e-12)
    self.assertLess(self.radius[~unanimous].max(), cap)
    self.assertFalse(unanimous[self.t < 3.5].any())


class UnitsTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("uint8", np.zeros((1, 2, 1, 1), np.uint8), "uint8.*to_float"),
    ("levels", np.full((1, 2, 1, 1), 200.0, np.float32), r"span \[200, 200\].*\[0, 1\]"),
    ("one_image", np.zeros((2, 1, 1), np.float32), r"shape \(2, 1, 1\)"),
    ("none", np.zeros((0, 2, 1, 1), np.float32), r"shape \(0, 2, 1, 1\)"),
    ("nan", np.full((1, 2, 1, 1), np.nan, np.float32), "nan"),
  )
  def test_images_in_other_units_are_refused(self, images, message):
    with self.assertRaisesRegex(errors.InputError, message):
      certify.certify(_linear, PARAMS, images, jax.random.key(0), **SETTINGS)


class CertifyToFilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.images = np.random.default_rng(0).integers(0, 256, (9, 2, 1, 1), np.uint8)
    self.labels = np.arange(9, dtype=np.int32) % 2

  def _certify(self, name, indices, params=PARAMS, **settings):
    points = self.images, self.labels, np.array(indices), jax.random.key(5)
    settings = {**SETTINGS, "seed": 2, **settings}
    certify.certify_to_files(_linear, params, *points, self.folder / name, **settings)
    return certificates.read(self.folder / name)

  def test_writes_what_certify_returns(self):
    record = self._certify("all", range(9), extra={"model": "linear", "sigma": 9.0})
    images = self.images.astype(np.float32) / 255
    results = certify.certify(_linear, PARAMS, images, jax.random.key(5), **SETTINGS)
    for ours, expected in zip(
      (record.predict, record.radius, record.counts), results, strict=True
    ):
      np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(record.label, self.labels)
    expected = {**SETTINGS, "bound": confidence.BOUND, "seed": 2, "num_classes": 2}
    expected |= {"model": "linear", "indices": list(range(9)), "key": [0, 5]}
    self.assertEqual(record.sidecar, {**expected, "counts": "all.counts.tsv"})

  def test_a_point_does_not_depend_on_the_others(self):
    whole, part = self._certify("all", range(9)), self._certify("part", [7, 2])
    for name in ("label", "predict", "radius", "counts"):
      expected = getattr(whole, name)[[7, 2]]
      np.testing.assert_array_equal(getattr(part, name), expected)

  def test_an_interrupted_run_goes_on_to_the_same_files(self):
    whole, seen = self._certify("whole", range(9)), []

    def on_point(done, total, certificate, label):
      seen.append((done, total, certificate.prediction, label))
      if done == 4:
        raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      self._certify("killed", range(9), on_point=on_point)
    self.assertFalse(certificates.is_complete(self.folder / "killed"))
    resumed = self._certify("killed", range(9), on_point=on_point)
    for ours, expected in zip(resumed[:-1], whole[:-1], strict=True):
      np.testing.assert_array_equal(ours, expected)
    points = zip(range(1, 10), whole.predict, whole.label, strict=True)
    self.assertEqual(seen, [(i, 9, predict, label) for i, predict, label in points])

  def test_names_the_point_whose_logits_are_not_finite(self):
    broken = WEIGHTS, np.float32(np.nan)
    with self.assertRaisesRegex(errors.NonFiniteError, "certify, point 3: 110 of 110"):
      self._certify("broken", [3], params=broken)


if __name__ == "__main__":
  absltest.main()
