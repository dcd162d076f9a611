"""What the fields beside certificates say of them, for every sampling rule."""

import json

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.certification import confidence, provenance, sampling
from pacd_jax.certification.rules import aca

SETTINGS = dict(sigma=0.5, n0=100, n=100_000, alpha=0.001)


def _sidecar(mode):
  points = {"seed": 0, "indices": [4, 7], "num_classes": 2, "counts": "0.counts.tsv"}
  points["dtype"] = "float32"
  return SETTINGS | points | sampling.make(mode, **SETTINGS).sidecar


def _certify(rule, rng, p, label):
  """The certificate of a point whose copies are of class 1 with probability p."""
  point, asked, votes = rule(label), [], None
  try:
    while True:
      asked.append(point.send(votes))
      votes = rng.multinomial(asked[-1], [1.0 - p, p])
  except StopIteration as end:
    return end.value, sum(asked)


class ProvenanceTest(parameterized.TestCase):
  @parameterized.parameters(*sampling.RULES.names)
  def test_radii_and_samples_follow_from_the_votes(self, mode):
    rule, rng = sampling.make(mode, **SETTINGS), np.random.default_rng(3)
    sidecar = provenance.checked(json.loads(json.dumps(_sidecar(mode))))
    probabilities = (0.1, 0.4, 0.48, 0.5, 0.505, 0.52, 0.6, 0.9, 0.99, 0.999, 1.0)
    labels = (None, 0, 1)
    ends = [_certify(rule, rng, p, y) for p in probabilities for y in labels]
    certificates, asked = zip(*ends, strict=True)
    predict, radius, counts = map(np.array, zip(*certificates, strict=True))
    self.assertContainsSubset(counts.sum(axis=1), provenance.allowed_votes(sidecar))
    np.testing.assert_array_equal(provenance.num_samples(sidecar, counts), asked)
    supported = provenance.supported_radius(sidecar, counts, predict)
    np.testing.assert_array_equal(supported, radius)
    self.assertContainsSubset([-1, 0, 1], predict)

  def test_no_points(self):
    counts, predict = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    for mode in sampling.RULES.names:
      radius = provenance.supported_radius(_sidecar(mode), counts, predict)
      self.assertEqual(radius.shape, (0,))

  def test_too_few_votes_support_no_radius(self):
    counts = np.array([[0, 0], [0, 0], [30, 67], [97, 0]])
    predict = np.array([0, -1, 0, -1])
    radius = provenance.supported_radius(_sidecar("aca"), counts, predict)
    self.assertEqual(radius[0], -np.inf)
    self.assertLess(radius[2], 0.0)
    np.testing.assert_array_equal(radius[[1, 3]], 0.0)

  @parameterized.parameters("mode", "dtype", "bound", "indices")
  def test_a_sidecar_says_how_it_was_drawn(self, name):
    sidecar = _sidecar("fixed")
    del sidecar[name]
    with self.assertRaisesRegex(ValueError, f"without {name}"):
      provenance.checked(sidecar)

  def test_what_it_names_is_kept(self):
    sidecar = _sidecar("aca") | {"dtype": "bfloat16", "model": "cnn"}
    self.assertEqual(provenance.checked(sidecar), sidecar)

  @parameterized.parameters(
    ("fixed", {"sigma": "0.5"}, "sigma is '0.5'"),
    ("fixed", {"indices": [1.5]}, "indices are not whole numbers"),
    ("fixed", {"mode": "fast"}, "mode is 'fast', none of fixed, adaptive, aca"),
    ("fixed", {"mode": ["fixed"]}, "mode is"),
    ("fixed", {"dtype": "float16"}, "dtype is 'float16', none of float32, bfloat16"),
    ("fixed", {"bound": "hoeffding"}, "bound is 'hoeffding', but in mode fixed"),
    ("fixed", {"bound": aca.BONFERRONI}, "bound is .*, but in mode fixed"),
    ("adaptive", {"bound": aca.BONFERRONI}, "bound is .*, but in mode adaptive"),
    ("aca", {"bound": confidence.BOUND}, "bound is .*, but in mode aca"),
    ("fixed", {"sigma": 0.0}, "sigma 0.0"),
    ("fixed", {"sigma": float("inf")}, "sigma inf"),
    ("fixed", {"n0": 0}, "n0 0"),
    ("fixed", {"n": 0}, "n 0"),
    ("fixed", {"alpha": 1.0}, "alpha 1.0"),
    ("fixed", {"alpha": float("nan")}, "alpha nan"),
    ("adaptive", {"sizes": None}, "sizes is None"),
    ("adaptive", {"sizes": []}, "sizes is"),
    ("adaptive", {"sizes": [50, 100]}, "sizes is"),  # They do not end with n.
    ("adaptive", {"sizes": [50, 200_000, 100_000]}, "sizes is"),
    ("adaptive", {"sizes": [0, 100_000]}, "sizes is"),
    ("adaptive", {"sizes": [0.5, 100_000]}, "sizes is"),
    ("adaptive", {"pilot": None}, "pilot is None"),
    ("adaptive", {"pilot": 0}, "pilot is 0"),
    ("adaptive", {"pilot": "1"}, "pilot is '1'"),
    ("aca", {"stages": "97"}, "stages is '97'"),
    ("aca", {"stages": [97, 97, 100_000]}, "stages is"),
    ("aca", {"alphas": None}, "alphas is None"),
    ("aca", {"alphas": [0.001]}, "alphas is"),
    ("aca", {"alphas": [0.0] * 10 + [0.001]}, "alphas is"),
    ("aca", {"alphas": [0.0001] * 10 + [float("nan")]}, "alphas sum to nan"),
    ("aca", {"alphas": [0.001] * 11}, "alphas sum to 0.011.*, more than alpha = 0.001"),
    ("aca", {"alpha": 0.0001}, "more than alpha = 0.0001"),
  )
  def test_refuses_what_cannot_be_checked(self, mode, change, message):
    provenance.checked(_sidecar(mode))
    with self.assertRaisesRegex(ValueError, message) as caught:
      provenance.checked(_sidecar(mode) | change)
    self.assertLess(len(str(caught.exception)), 160)

  @parameterized.parameters(*provenance.FIELDS)
  def test_refuses_to_do_without_a_field(self, name):
    sidecar = _sidecar("fixed")
    del sidecar[name]
    with self.assertRaisesRegex(ValueError, f"without {name}"):
      provenance.checked(sidecar)


if __name__ == "__main__":
  absltest.main()
