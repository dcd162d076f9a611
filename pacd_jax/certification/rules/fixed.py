"""Sampling rule `fixed`: algorithm CERTIFY of Cohen et al. (2019), arXiv:1902.02918."""

from typing import Any

from pacd_jax.certification import confidence
from pacd_jax.certification.rules import rule
from pacd_jax.types import Certificate


def make(settings: rule.Settings, options: Any = None) -> rule.Rule:
  """Draws n0 samples to choose the class, and n others to bound its probability."""
  del options
  n0, n = settings.n0, settings.n

  def start(unused_label: int | None):
    counts0 = rule.votes_of((yield n0), n0)
    counts = rule.votes_of((yield n), n)
    result: Certificate = confidence.certificate(
      counts0, counts, sigma=settings.sigma, alpha=settings.alpha
    )
    return result

  return rule.Rule(start, {})


ENTRY = rule.SamplingRule(
  "fixed",
  make,
  "n samples for every point: algorithm CERTIFY of Cohen et al. (2019)",
  bound=confidence.BOUND,
  check=lambda sidecar: None,
  allowed_votes=lambda sidecar: (sidecar["n"],),
  alphas=rule.alpha_of_all,
  draws_all=True,
)
