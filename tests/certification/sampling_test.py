"""Sampling rules: exact probabilities of failure, and what they ask for."""

import numpy as np
import run_rule
from absl.testing import absltest, parameterized
from scipy.stats import binom, norm

from pacd_jax import errors
from pacd_jax.certification import confidence, sampling

# Small enough for every outcome to be looked at.
SMALL = dict(sigma=0.5, n0=10, n=600, alpha=0.05)
PAPER = dict(sigma=0.5, n0=100, n=100_000, alpha=0.001)


def _draw(rng, *p):
  return lambda size: rng.multinomial(size, p)


def _claims_too_much(certificate, p):
  """Whether it certifies class 0 beyond the true radius, sigma Phi^-1(p): bool `[P]`."""
  too_large = certificate.radius > SMALL["sigma"] * norm.ppf(p) * (1.0 + 1e-12)
  return (certificate.prediction == 0) & (too_large | (p <= 0.5))


class ProtocolTest(parameterized.TestCase):
  @parameterized.parameters(*sampling.RULES.names)
  def test_asks_for_the_sizes_that_its_sidecar_names(self, mode):
    rule, rng = sampling.make(mode, **PAPER), np.random.default_rng(0)
    sidecar = rule.sidecar
    sizes = {
      "fixed": [100_000],
      "adaptive": [sidecar.get("pilot"), *sidecar.get("sizes", ())],
      "aca": np.diff([0, *sidecar.get("stages", ())]).tolist(),
    }[mode]
    for p in (0.2, 0.45, 0.5, 0.505, 0.55, 0.8, 0.99, 0.9999, 1.0):
      certificate, asked = run_rule.run(rule, _draw(rng, 1.0 - p, p, 0.0))
      self.assertContainsSubset(asked[1:], sizes)
      self.assertEqual(asked[0], 100)
      self.assertEqual(certificate.counts.shape, (3,))
      self.assertEqual(certificate.counts.dtype, np.int64)
      self.assertLessEqual(certificate.counts.sum(), 100_000)
      self.assertEqual(certificate.prediction >= 0, certificate.radius > 0.0)

  @parameterized.product(mode=sampling.RULES.names, votes=([3, 5], [100], [[50], [50]]))
  def test_refuses_votes_that_it_did_not_ask_for(self, mode, votes):
    point = sampling.make(mode, **{**PAPER, "n0": 9})(None)
    next(point)
    with self.assertRaisesRegex(ValueError, "asked for 9 votes"):
      point.send(np.array(votes))

  @parameterized.parameters(*sampling.RULES.names)
  def test_points_share_nothing(self, mode):
    """Two of them in turn end as each does alone."""
    rule = sampling.make(mode, **PAPER)
    draws = [lambda k: np.array([k - k // 3, k // 3]), lambda k: np.array([0, k])]
    points, ended = [rule() for _ in draws], {}
    asked = [next(point) for point in points]
    while len(ended) < len(draws):
      for i in {0, 1} - ended.keys():
        try:
          asked[i] = points[i].send(draws[i](asked[i]))
        except StopIteration as end:
          ended[i] = end.value
    for i, draw in enumerate(draws):
      self.assertEqual(str(ended[i]), str(run_rule.run(rule, draw)[0]))

  @parameterized.product(
    mode=sampling.RULES.names,
    change=(("sigma", 0.0), ("sigma", np.nan), ("n0", 0), ("n", 0), ("alpha", 1.0)),
  )
  def test_refuses_settings_out_of_range(self, mode, change):
    name, value = change
    with self.assertRaisesRegex(
      errors.InputError, f"{name}={value} is out of range: it must be"
    ):
      sampling.make(mode, **{**PAPER, name: value})

  @parameterized.parameters(
    *(
      (mode, 9, "certify: n=9 is too small .* use at least 10$")
      for mode in sampling.RULES.names
    ),
    ("fast", 100, "certify: mode 'fast': use one of fixed, adaptive, aca"),
  )
  def test_refuses_what_cannot_certify(self, mode, n, message):
    with self.assertRaisesRegex(errors.InputError, message):
      sampling.make(mode, **{**PAPER, "n": n})

  @parameterized.product(mode=sampling.RULES.names, n=(10, 11, 100, 1000, 12_345))
  def test_any_n_that_can_certify_will_do(self, mode, n):
    rule = sampling.make(mode, **{**PAPER, "n": n})
    certificate, asked = run_rule.run(rule, lambda size: np.array([0, size]))
    self.assertEqual(certificate.prediction, 1)
    self.assertBetween(certificate.counts.sum(), 10, n)
    self.assertEqual(sum(asked) - 100 - rule.sidecar.get("pilot", 0), certificate.counts[1])


class FixedTest(absltest.TestCase):
  def test_is_the_certificate_of_n0_and_n_votes(self):
    rule = sampling.make("fixed", **PAPER)
    votes = {100: np.array([20, 80, 0]), 100_000: np.array([3000, 97_000, 0])}
    certificate, asked = run_rule.run(rule, votes.get)
    self.assertEqual(asked, [100, 100_000])
    expected = confidence.certificate(*votes.values(), sigma=0.5, alpha=0.001)
    self.assertEqual(certificate[:2], expected[:2])
    np.testing.assert_array_equal(certificate.counts, expected.counts)
    self.assertEqual(rule.sidecar, {"mode": "fixed", "bound": confidence.BOUND})


class AdaptiveTest(parameterized.TestCase):
  rule = sampling.make("adaptive", **PAPER)

  def test_fails_with_probability_at_most_alpha(self):
    """P[radius > sigma Phi^-1(p)], exact: over all votes of the pilot and the sample."""
    rule = sampling.make("adaptive", **{**SMALL, "n": 2000})
    pilot, alpha = rule.sidecar["pilot"], SMALL["alpha"]
    sizes = [run_rule.replay(rule, 10, count)[1][-1] for count in range(pilot + 1)]
    self.assertGreater(len(set(sizes)), 3)
    p = np.concatenate([np.linspace(0.3, 0.99, 70), 1.0 - np.geomspace(1e-4, 0.01, 30)])
    of_size = {}
    for size in set(sizes):
      first = sizes.index(size)  # A pilot that asks for it.
      results = [run_rule.replay(rule, 10, first, count)[0] for count in range(size + 1)]
      failed = np.stack([_claims_too_much(certificate, p) for certificate in results])
      law = binom.pmf(np.arange(size + 1)[:, None], size, p[None])
      of_size[size] = (law * failed).sum(axis=0)
    law = binom.pmf(np.arange(pilot + 1)[:, None], pilot, p[None])
    failed = (law * [of_size[size] for size in sizes]).sum(axis=0)
    self.assertLessEqual(failed.max(), alpha)
    self.assertGreater(failed.max(), 0.8 * alpha)  # None of alpha is wasted.

  # A radius near the cap of n votes; one of which more votes would add under 2 %; a
  # small one, of which they add more; perhaps one at all; surely none.
  @parameterized.parameters(
    (1000, 70_711), (950, 17_678), (600, 50_000), (510, 100_000), (450, 1105)
  )
  def test_the_pilot_says_how_many_are_worth_it(self, count, size):
    for label in (None, 0):
      certificate, asked = run_rule.replay(self.rule, 100, count, label=label)
      self.assertIsNone(certificate)
      self.assertEqual(asked, [100, 1000, size])

  def test_the_certificate_is_that_of_the_fresh_votes_alone(self):
    certificate, _ = run_rule.replay(self.rule, 100, 950, 16_000)
    expected = confidence.certificate([1, 0], [16_000, 1678], sigma=0.5, alpha=0.001)
    self.assertEqual(certificate[:2], expected[:2])
    np.testing.assert_array_equal(certificate.counts, expected.counts)

  def test_spends_little_where_the_class_is_not_the_label(self):
    _, asked = run_rule.replay(self.rule, 49, 1000, label=0)
    self.assertEqual(asked, [100, 1000, 1105])
    certificate, asked = run_rule.replay(self.rule, 51, 450, 700, label=0)
    self.assertEqual(asked, [100, 1000, 1105])
    self.assertEqual((certificate.prediction, certificate.counts.sum()), (0, 1105))


class AcaTest(parameterized.TestCase):
  rule = sampling.make("aca", **PAPER)

  def test_fails_with_probability_at_most_alpha(self):
    """Exact, for every p at once: the votes so far and their law, look by look.

    A bound that is looked at again and again must not exceed p at any look; where p is
    1/2 or less, no certificate may be given at all.
    """
    rule, alpha = sampling.make("aca", **SMALL), SMALL["alpha"]
    stages = rule.sidecar["stages"]
    self.assertLen(stages, 4)
    p = np.concatenate([[0.3, 0.45, 0.49, 0.499, 0.5], np.linspace(0.51, 0.99, 49)])
    law, paths = {0: np.ones(len(p))}, {0: ()}  # Of the votes, where it goes on.
    failed, ended = np.zeros(len(p)), np.zeros(len(p))
    for step in np.diff([0, *stages]):
      arriving, via = {}, {}
      for votes, probability in law.items():
        weights = binom.pmf(np.arange(step + 1)[:, None], step, p[None])
        for more in range(step + 1):
          total = arriving.get(votes + more, 0.0)
          arriving[votes + more] = total + probability * weights[more]
          via[votes + more] = (*paths[votes], more)
      law, paths = {}, {}
      for votes, probability in arriving.items():
        certificate, _ = run_rule.replay(rule, 10, *via[votes])
        if certificate is None:
          law[votes], paths[votes] = probability, via[votes]
          continue
        ended += probability
        failed += _claims_too_much(certificate, p) * probability
    self.assertEmpty(law)
    np.testing.assert_allclose(ended, 1.0, rtol=1e-9)
    self.assertLessEqual(failed.max(), alpha)
    self.assertGreater(failed[4], 0.5 * alpha)  # At 1/2: the union bound loses little.

  def test_gives_up_at_once_on_another_class(self):
    certificate, asked = run_rule.replay(self.rule, 49, label=0)
    self.assertEqual(asked, [100])
    self.assertEqual(certificate[:2], (-1, 0.0))
    np.testing.assert_array_equal(certificate.counts, [0, 0])

  @parameterized.parameters(None, 0)
  def test_stops_at_the_first_look_that_decides(self, label):
    certificate, asked = run_rule.replay(self.rule, 100, 97, label=label)
    self.assertEqual((asked, certificate.prediction), ([100, 97], 0))
    expected = 0.5 * norm.ppf(5e-5 ** (1 / 97))  # The first look's share of alpha.
    np.testing.assert_allclose(certificate.radius, expected, rtol=1e-12)
    certificate, asked = run_rule.replay(self.rule, 100, 60, 90, label=label)
    self.assertEqual((asked, certificate.prediction), ([100, 97, 98], 0))
    np.testing.assert_array_equal(certificate.counts, [150, 45])
    certificate, asked = run_rule.replay(self.rule, 100, 30, label=label)
    self.assertEqual((asked, certificate.prediction), ([100, 97], -1))

  def test_knows_no_label(self):
    certificate, asked = run_rule.replay(self.rule, 0, 0)
    self.assertEqual((asked, certificate.prediction), ([100, 97], 1))

  def test_ends_after_n_votes(self):
    certificate, asked = run_rule.run(
      self.rule, lambda size: np.array([size - size // 2, size // 2])
    )
    self.assertEqual((sum(asked), certificate.prediction), (100_100, -1))
    self.assertEqual(certificate.counts.sum(), 100_000)

  def test_shares_of_alpha_sum_to_alpha(self):
    for n in (10, 100, 1000, 99_999, 2**30):
      for alpha in (0.001, 0.05, 1.0 / 3.0):
        rule = sampling.make("aca", **{**PAPER, "n": n, "alpha": alpha})
        np.testing.assert_allclose(sum(rule.sidecar["alphas"]), alpha, rtol=1e-12)
        self.assertLen(rule.sidecar["alphas"], len(rule.sidecar["stages"]))


if __name__ == "__main__":
  absltest.main()
