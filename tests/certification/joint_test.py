"""Certificates at test time under poisoning, from votes by level; how often they hold."""

import tempfile

import jax
import jax.numpy as jnp
import long
import numpy as np
import scipy.stats
from absl.testing import absltest, parameterized

from pacd_jax.certification import certificates, certify, confidence, joint


class AtLevelsTest(parameterized.TestCase):
  def test_level_0_is_the_ordinary_certificate(self):
    draws = np.random.default_rng(0)
    for _ in range(50):
      counts0, counts = draws.multinomial(20, [1 / 6] * 6, 2).reshape(2, 2, 3)
      counts[0, 1] += draws.integers(0, 200)
      found = joint.at_levels(counts0, counts, sigma=0.5, alpha=0.01)[0]
      expected = confidence.certificate(
        counts0.sum(0), counts.sum(0), sigma=0.5, alpha=0.01
      )
      self.assertEqual(found[:2], expected[:2])
      np.testing.assert_array_equal(found.counts, expected.counts)

  def test_radii_do_not_rise_with_the_level(self):
    draws = np.random.default_rng(1)
    for _ in range(200):
      counts = draws.multinomial(300, draws.dirichlet([4, 0.2] * 4)).reshape(4, 2)
      found = joint.at_levels(counts, counts, sigma=0.25, alpha=0.001)
      radii = [each.radius for each in found]
      self.assertEqual(radii, sorted(radii, reverse=True))
      for level, each in enumerate(found[1:], start=1):
        self.assertEqual(each.counts.sum(), 300)
        if each.prediction >= 0:
          self.assertEqual(each.prediction, counts.sum(axis=0).argmax())
          votes = counts[level:, each.prediction].sum()
          self.assertEqual(
            each.radius, confidence.radius(votes, 300, sigma=0.25, alpha=0.001)
          )

  @parameterized.parameters(1000, 10_000)
  @long.after(1)
  def test_a_radius_is_above_the_exact_one_in_at_most_a_share_alpha(self, num_points):
    """Of points of a planted distribution of votes by level and class."""
    alpha, n, draws = 0.05, 200, np.random.default_rng(2)
    shares = np.array([[0.03, 0.02], [0.1, 0.0], [0.85, 0.0]])  # By level and class.
    wrong = np.zeros(3)
    for _ in range(num_points):
      counts = draws.multinomial(n, shares.ravel()).reshape(3, 2)
      found = joint.at_levels(counts * 0 + [[1, 0]], counts, sigma=1.0, alpha=alpha)
      exact = scipy.stats.norm.ppf(shares[::-1, 0].cumsum()[::-1])
      wrong += [each.radius > of for each, of in zip(found, exact, strict=True)]
    allowed = scipy.stats.binom.ppf(1 - 1e-6, num_points, alpha)
    self.assertLessEqual(wrong.max(), allowed)
    self.assertGreater(wrong.min(), 0.2 * num_points * alpha)  # The bound is not loose.


class FilesTest(absltest.TestCase):
  """A linear ensemble of two levels: level 1 where the first pixel is far from 1/2."""

  def setUp(self):
    super().setUp()
    self.folder = self.enterContext(tempfile.TemporaryDirectory())
    draws = np.random.default_rng(3)
    self.images = draws.integers(60, 200, (6, 2, 2, 1)).astype(np.uint8)
    self.labels = np.zeros(6, np.int64)
    self.settings = certify.Settings(0.25, 20, 400, 0.01, batch_size=64)

  def _apply(self, params, images):
    value = images[:, 0, 0, 0] - params
    place = 2 * (jnp.abs(value) > 0.1) + (value < 0)
    return jax.nn.one_hot(place, 4)

  def _certify(self, indices=range(6), folder="a"):
    joint.certify_to_files(
      self._apply,
      jnp.float32(0.5),
      self.images,
      self.labels,
      np.array(indices),
      jax.random.key(5),
      {m: f"{self.folder}/{folder}/poisoned_{m}/seed_0" for m in (0, 3)},
      self.settings,
      num_classes=2,
      seed=0,
      extra=lambda m: {"accuracy": 1.0},
    )
    paths = (f"{self.folder}/{folder}/poisoned_{m}/seed_0" for m in (0, 3))
    return [certificates.read(path) for path in paths]

  def test_files_are_those_of_certificates_and_of_the_same_votes(self):
    ordinary, poisoned = self._certify()
    certify.certify_to_files(
      lambda params, images: self._apply(params, images).reshape(-1, 2, 2).sum(axis=1),
      jnp.float32(0.5),
      self.images,
      self.labels,
      np.arange(6),
      jax.random.key(5),
      f"{self.folder}/plain/seed_0",
      seed=0,
      **self.settings._asdict(),
      extra={"accuracy": 1.0},
    )
    plain = certificates.read(f"{self.folder}/plain/seed_0")
    np.testing.assert_array_equal(ordinary.counts, plain.counts)
    np.testing.assert_array_equal(ordinary.radius, plain.radius)
    self.assertEqual(ordinary.sidecar, plain.sidecar)
    self.assertEqual(poisoned.sidecar["poisoned_images"], 3)
    self.assertEqual(poisoned.counts.shape, (6, 3))
    self.assertTrue((poisoned.radius <= ordinary.radius).all())
    self.assertTrue((poisoned.radius < ordinary.radius).any())

  def test_sound_certificates_of_every_level(self):
    self.settings = self.settings._replace(sound=True)
    for record in self._certify():
      self.assertEndsWith(record.sidecar["bound"], "_sound")
      own = np.take_along_axis(record.counts, np.maximum(record.predict, 0)[:, None], 1)
      radius = confidence.radius(own[:, 0], 400, sigma=0.25, alpha=0.01)
      kept = record.predict >= 0
      self.assertTrue(kept.any())
      np.testing.assert_array_less(record.radius[kept], radius[kept])

  def test_a_level_that_got_further_is_taken_up(self):
    whole = self._certify(folder="whole")
    self._certify()
    for m, lines in ((0, 5), (3, 3)):
      path = f"{self.folder}/a/poisoned_{m}/seed_0.tsv"
      with open(path) as file:
        kept = file.readlines()[:lines]
      with open(path, "w") as file:
        file.writelines(kept)
    for found, expected in zip(self._certify(), whole, strict=True):
      np.testing.assert_array_equal(found.counts, expected.counts)
      np.testing.assert_array_equal(found.radius, expected.radius)


if __name__ == "__main__":
  absltest.main()
