"""Tests of certification against SciPy and the one classifier with a known radius."""

import tempfile
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from linear_classifier import PARAMS, WEIGHTS
from linear_classifier import apply as _linear
from linear_classifier import images as _images

from pacd_jax import errors
from pacd_jax.certification import (
  certificates,
  certify,
  confidence,
  provenance,
  sampling,
  votes,
)

SETTINGS = dict(sigma=0.1, n0=10, n=100, alpha=0.001, batch_size=30)


def _certify(distances, key=0, **settings):
  """`certify` of the linear classifier at these distances from its plane."""
  images, settings = _images(distances), {**SETTINGS, **settings}
  return certify.certify(
    _linear,
    PARAMS,
    images,
    jax.random.key(key),
    **settings,
  )


def _samples(key, first, count, shape):
  """Noise as documented: sample j is of fold_in(key, j)."""
  keys = [jax.random.fold_in(key, j) for j in range(first, first + count)]
  return SETTINGS["sigma"] * np.stack([jax.random.normal(k, shape) for k in keys])


class CertifyTest(parameterized.TestCase):
  def test_is_the_certificate_of_the_documented_samples(self):
    distances, n0, n = [0.02, -0.01, 0.3], 7, 40
    prediction, radius, counts = results = _certify(distances, key=3, n0=n0, n=n)
    self.assertEqual([x.dtype for x in results], [np.dtype(t) for t in ("i8", "f8", "i8")])
    for i, image in enumerate(_images(distances)):
      expected = []
      for first, count in ((0, n0), (n0, n)):
        key = jax.random.fold_in(jax.random.key(3), i)
        noisy = image[None] + _samples(key, first, count, image.shape)
        chosen = np.argmax(_linear(PARAMS, noisy), axis=-1)
        expected.append(np.bincount(chosen, minlength=2))
      expected = confidence.certificate(*expected, sigma=0.1, alpha=0.001)
      np.testing.assert_array_equal(counts[i], expected.counts)
      self.assertEqual((prediction[i], radius[i]), expected[:2])

  @parameterized.product(mode=sampling.RULES.names, batch_size=(1, 64, 100_000))
  def test_votes_depend_on_neither_batches_nor_the_other_points(self, mode, batch_size):
    distances = np.linspace(-0.3, 0.3, 9)
    settings = dict(mode=mode, n=300)
    expected = _certify(distances, **settings)
    ours = _certify(distances, **settings, batch_size=batch_size)
    jax.tree.map(np.testing.assert_array_equal, ours, expected)
    self.enter_context(mock.patch.object(votes, "IN_FLIGHT", 1))
    jax.tree.map(np.testing.assert_array_equal, _certify(distances, **settings), expected)
    some = _certify(distances[:3], **settings)
    jax.tree.map(np.testing.assert_array_equal, some, tuple(x[:3] for x in expected))

  def test_bfloat16_is_another_classifier(self):
    distances = np.linspace(-0.3, 0.3, 20)
    exact, rounded = (
      _certify(distances, n=1000, dtype=dtype)[2] for dtype in provenance.DTYPES
    )
    self.assertBetween(np.abs(exact - rounded).sum(), 1, 1000)
    np.testing.assert_array_equal(rounded.sum(axis=1), np.full(20, 1000))

  def test_logits_that_are_not_finite(self):
    def root(unused_params, images):
      return jnp.sqrt(images.reshape(-1, 1)) * jnp.ones((1, 2))

    key, image = jax.random.key(1), np.zeros((1, 1, 1), np.float32)
    bad = np.sum(_samples(key, 0, 10, image.shape) < 0.0)
    message = f"certify, point 5: {bad} of 10 noisy samples have non-finite logits"
    certify_points = certify.make_certifier(root, **SETTINGS)
    with self.assertRaisesRegex(errors.NonFiniteError, message):
      list(certify_points((), image[None], key[None], names=[5]))

  @parameterized.parameters(
    {"sigma": 0.0},
    {"sigma": float("nan")},
    {"n0": 0},
    {"n": 0},
    {"batch_size": 0},
    {"batch_size": 2**31},
    {"alpha": 0.0},
    {"alpha": 1.0},
    {"n": 9},
    {"dtype": "float16"},
    {"mode": "fast"},
  )
  def test_refuses_settings(self, **change):
    (name, value), *_ = change.items()
    with self.assertRaisesRegex(errors.InputError, f"certify: .*{name}.{value!r}"):
      certify.make_certifier(_linear, **{**SETTINGS, **change})


class UnitsTest(parameterized.TestCase):
  @parameterized.parameters(
    lambda: 0, lambda: jax.random.PRNGKey(0), lambda: jax.random.split(jax.random.key(0))
  )
  def test_a_key_of_another_kind_is_refused(self, make):
    key, images = make(), np.zeros((1, 2, 1, 1), np.float32)
    with self.assertRaisesRegex(errors.InputError, r"give jax.random.key\(seed\)"):
      certify.certify(_linear, PARAMS, images, key, **SETTINGS)

  @parameterized.named_parameters(
    ("uint8", np.zeros((1, 2, 1, 1), np.uint8), "uint8.*to_float"),
    ("levels", np.full((1, 2, 1, 1), 200.0, np.float32), r"span \[200, 200\].*\[0, 1\]"),
    ("one_image", np.zeros((2, 1, 1), np.float32), r"shape \(2, 1, 1\)"),
    ("none", np.zeros((0, 2, 1, 1), np.float32), r"shape \(0, 2, 1, 1\)"),
    ("nan", np.full((1, 2, 1, 1), np.nan, np.float32), "nan"),
  )
  def test_images_in_other_units_are_refused(self, images, message):
    with self.assertRaisesRegex(errors.InputError, message):
      certify.certify(
        _linear,
        PARAMS,
        images,
        jax.random.key(0),
        **SETTINGS,
      )


class CertifyToFilesTest(parameterized.TestCase):
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
    results = certify.certify(
      _linear,
      PARAMS,
      images,
      jax.random.key(5),
      **SETTINGS,
    )
    for ours, expected in zip(
      (record.predict, record.radius, record.counts), results, strict=True
    ):
      np.testing.assert_array_equal(ours, expected)
    np.testing.assert_array_equal(record.label, self.labels)
    expected = {**SETTINGS, "bound": confidence.BOUND, "seed": 2, "num_classes": 2}
    expected |= {"model": "linear", "indices": list(range(9)), "key": [0, 5]}
    expected |= {"mode": "fixed", "dtype": "float32"}
    del expected["batch_size"]  # No vote depends on it.
    self.assertEqual(record.sidecar, {**expected, "counts": "all.counts.tsv"})

  def test_a_point_does_not_depend_on_the_others(self):
    whole, part = self._certify("all", range(9)), self._certify("part", [7, 2])
    for name in ("label", "predict", "radius", "counts"):
      expected = getattr(whole, name)[[7, 2]]
      np.testing.assert_array_equal(getattr(part, name), expected)

  @parameterized.product(mode=sampling.RULES.names, dtype=provenance.DTYPES)
  def test_says_how_the_votes_were_drawn(self, mode, dtype):
    record = self._certify("some", range(3), mode=mode, dtype=dtype)
    settings = {name: SETTINGS[name] for name in ("sigma", "n0", "n", "alpha")}
    expected = {**sampling.make(mode, **settings).sidecar, "dtype": dtype}
    self.assertEqual({name: record.sidecar[name] for name in expected}, expected)

  @parameterized.product(mode=sampling.RULES.names, kill_after=(1, 4))
  def test_an_interrupted_run_goes_on_to_the_same_files(self, mode, kill_after):
    whole, seen = self._certify("whole", range(9), mode=mode), []

    def on_point(done, total, certificate, label):
      seen.append((done, total, certificate.prediction, label))
      if done == kill_after:
        raise KeyboardInterrupt

    with self.assertRaises(KeyboardInterrupt):
      self._certify("killed", range(9), mode=mode, on_point=on_point)
    self.assertFalse(certificates.is_complete(self.folder / "killed"))
    resumed = self._certify("killed", range(9), mode=mode, on_point=on_point)
    for ours, expected in zip(resumed[:-1], whole[:-1], strict=True):
      np.testing.assert_array_equal(ours, expected)
    points = zip(range(1, 10), whole.predict, whole.label, strict=True)
    self.assertEqual(seen, [(i, 9, predict, label) for i, predict, label in points])

  def test_a_complete_file_is_left_as_it_is(self):
    whole = self._certify("whole", range(9))
    again = self._certify("whole", range(9), params=(WEIGHTS, np.float32(np.nan)))
    np.testing.assert_array_equal(whole.counts, again.counts)

  def test_without_an_early_stop_another_class_has_its_whole_radius(self):
    """Of points that the classifier always takes for a class that is not theirs."""
    images = np.full((3, 2, 2, 1), 255, np.uint8)
    labels, own = np.zeros(3, np.int64), {**SETTINGS, "mode": "adaptive", "seed": 0}

    def apply(params, images):  # Always class 1, whatever the noise is.
      return jnp.tile(jnp.array([[0.0, 1.0]]), (len(images), 1))

    found = {}
    for stops_early in (True, False):
      path = self.folder / f"seed_{int(stops_early)}"
      given = apply, PARAMS, images, labels, np.arange(3), jax.random.key(0), path
      certify.certify_to_files(*given, **own, stops_early=stops_early)
      found[stops_early] = certificates.read(path)
    self.assertLess(found[True].counts.sum(axis=1).max(), 20)
    np.testing.assert_array_equal(found[False].counts, [[0, 100]] * 3)
    np.testing.assert_array_equal(found[False].predict, 1)
    whole = confidence.certificate(
      np.array([0, 10]), np.array([0, 100]), sigma=0.1, alpha=0.001
    )
    np.testing.assert_array_equal(found[False].radius, whole.radius)
    self.assertGreater(whole.radius, 2 * found[True].radius.max())

  def test_names_the_point_whose_logits_are_not_finite(self):
    broken = WEIGHTS, np.float32(np.nan)
    with self.assertRaisesRegex(errors.NonFiniteError, "certify, point 3: 10 of 10"):
      self._certify("broken", [3], params=broken)

  @parameterized.named_parameters(
    ("too_few", dict(labels=[0, 1]), "3 images but 2 labels: give one"),
    ("foreign", dict(labels=[0, 1, 3]), r"from 0 to 3, but apply gives 3 .*in 0\.\.2"),
    ("one_row", dict(apply=lambda p, x: (x.reshape(len(x), -1) @ p)[0]), r"shape \(3,\)"),
    ("one_logit", dict(apply=lambda p, x: x.reshape(len(x), -1) @ p[:, :1]), "2 classes"),
    ("classes", dict(apply=lambda p, x: jnp.argmax(x[:, 0, 0], axis=-1)), r"shape \(3,\)"),
    ("transposed", dict(apply=lambda p, x: jnp.zeros((10, len(x)))), r"shape \(10, 3\)"),
    ("pair", dict(apply=lambda p, x: (x, x)), "gives tuple for 3 images"),
    ("batch", dict(batch_size=5 * 10**8), r"batch_size=500000000 needs .*: use at most"),
    ("sigma", dict(sigma=-1.0), "sigma=-1.0 is out of range: it must be more than 0"),
    ("n", dict(n=5), "n=5 is too small .*: use at least 10$"),
  )
  def test_what_would_give_a_wrong_certificate_is_refused(self, given, message):
    settings = dict(sigma=0.25, n0=10, n=100, alpha=0.001, labels=None) | given
    apply = settings.pop("apply", lambda p, x: x.reshape(len(x), -1) @ p)
    images, params = np.zeros((3, 2, 2, 1), np.float32), jnp.eye(4)[:, :3]
    with self.assertRaisesRegex(errors.InputError, message):
      certify.certify(apply, params, images, jax.random.key(0), **settings)


if __name__ == "__main__":
  absltest.main()
