"""What the sampling rules save, on simulated points; `bench.rules` measures real ones."""

import numpy as np
import run_rule
from absl.testing import absltest
from scipy.stats import norm

from pacd_jax.certification import sampling

PAPER = dict(sigma=0.5, n0=100, n=100_000, alpha=0.001)


class SavingsTest(absltest.TestCase):
  """Against fixed sampling, on 4,000 points like those of clean and poisoned victims.

  The label's Phi^-1(p_A) is normal in each row; the rows' mean radii, about 2.9, 2.9,
  1.5 and 0.4 sigma, are those that victims of MNIST have at sigma 0.5, clean ones and
  poisoned ones. All rules see the same n0 votes, fixed and aca the same others.
  """

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    rng = np.random.default_rng(0)
    rows = ((3.26, 1.3), (3.07, 0.8), (1.43, 1.5), (-0.43, 1.5))
    share = norm.cdf([rng.normal(*row, 1000) for row in rows])
    rules = {mode: sampling.make(mode, **PAPER) for mode in sampling.RULES.names}
    cls.radius = {mode: np.zeros(share.shape) for mode in rules}
    cls.samples = {mode: np.zeros(share.shape) for mode in rules}
    steps = np.diff([0, *rules["aca"].sidecar["stages"]])
    for at, p in np.ndenumerate(share):
      votes0, votes = rng.binomial(100, p), rng.binomial(steps, p)
      answers = {
        "fixed": [votes0, votes.sum()],
        "adaptive": [votes0, rng.binomial(1000, p), lambda n, p=p: rng.binomial(n, p)],
        "aca": [votes0, *votes],
      }
      for mode, rule in rules.items():
        certificate, asked = run_rule.replay(rule, *answers[mode], label=0)
        cls.samples[mode][at] = sum(asked)
        if certificate.prediction == 0:
          cls.radius[mode][at] = certificate.radius

  def test_rows_are_as_described(self):
    acr = self.radius["fixed"].mean(axis=1) / PAPER["sigma"]
    np.testing.assert_allclose(acr, [2.9, 2.9, 1.5, 0.4], rtol=0.1)

  def test_adaptive_takes_few_samples_and_loses_little(self):
    saved = self.samples["fixed"].sum() / self.samples["adaptive"].sum()
    self.assertGreater(saved, 2.5)
    acr, fixed = (self.radius[mode].mean(axis=1) for mode in ("adaptive", "fixed"))
    self.assertLess(1.0 - acr.mean() / fixed.mean(), 0.015)
    np.testing.assert_array_less(1.0 - acr / fixed, 0.02)
    aca, fixed = ((self.radius[x] > 0.0).mean(axis=1) for x in ("adaptive", "fixed"))
    np.testing.assert_allclose(aca, fixed, atol=0.005)

  def test_aca_takes_very_few_samples_and_decides_alike(self):
    saved = self.samples["fixed"].sum() / self.samples["aca"].sum()
    self.assertGreater(saved, 50.0)
    each = self.samples["fixed"].sum(axis=1) / self.samples["aca"].sum(axis=1)
    self.assertGreater(each.min(), 20.0)
    alike = (self.radius["aca"] > 0.0) == (self.radius["fixed"] > 0.0)
    self.assertGreaterEqual(alike.mean(axis=1).min(), 0.995)


if __name__ == "__main__":
  absltest.main()
