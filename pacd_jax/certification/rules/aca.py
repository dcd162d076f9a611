"""Sampling rule `aca`: decides whether a point can be certified, at any radius."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pacd_jax.certification import confidence
from pacd_jax.certification.rules import rule
from pacd_jax.types import Certificate

BONFERRONI = "clopper_pearson_bonferroni"
_FIRST_STAGE = 64  # Lower bound of the first look's number of votes.
_LAST_SHARE = 0.5  # Share of alpha for the look at n votes; earlier looks share the rest.
_FUTILITY = 0.001  # Probability, at each look, of giving up a point that n votes certify.


def make(settings: rule.Settings, options: Any = None) -> rule.Rule:
  """Tests for a certificate after ..., n/4, n/2 and n votes.

  With alpha_k for the k-th look, sum_k alpha_k = alpha, the union bound gives
  P[some bound exceeds p_A] <= alpha for every reason to stop: the rule stops once p_A is
  certified to be above 1/2, or unlikely to be. The radius from so few samples is valid, but
  small.
  """
  import scipy.stats  # Here, as it takes a second and other rules do not need it.

  del options
  sigma, n0, n, alpha = settings
  stages = [n]
  while stages[0] // 2 >= _FIRST_STAGE:
    stages.insert(0, stages[0] // 2)
  early = (1.0 - _LAST_SHARE) * alpha / max(1, len(stages) - 1)
  alphas = [early] * (len(stages) - 1) + [alpha - early * (len(stages) - 1)]
  fewest = scipy.stats.binom.isf(alphas[-1], n, 0.5) + 1  # Votes of n to certify.
  hopeless = scipy.stats.binom.ppf(_FUTILITY, stages, fewest / n)

  def start(label: int | None):
    counts0 = rule.votes_of((yield n0), n0)
    top, counts = int(np.argmax(counts0)), np.zeros(counts0.shape, np.int64)
    result = Certificate(prediction=-1, radius=0.0, counts=counts)
    if label is not None and top != label:
      return result
    for seen, stage, share, give_up in zip(
      [0, *stages], stages, alphas, hopeless, strict=False
    ):
      counts = counts + rule.votes_of((yield stage - seen), stage - seen)
      result = confidence.certificate(counts0, counts, sigma=sigma, alpha=share)
      if result.prediction >= 0 or counts[top] < give_up:
        break
    return result

  return rule.Rule(start, {"stages": stages, "alphas": alphas})


def _check(sidecar: Mapping[str, Any]) -> None:
  rule.check_sizes(sidecar, "stages")
  alphas, alpha = sidecar.get("alphas"), sidecar["alpha"]
  num_stages = len(sidecar["stages"])
  if not (rule.are_all(alphas, float) and len(alphas) == num_stages and min(alphas) > 0.0):
    raise ValueError(
      f"alphas is {rule.brief(alphas)}, not one share of alpha for each stage"
    )
  if not sum(alphas) <= alpha * (1.0 + 1e-9):  # Rounding; NaN is refused, too.
    raise ValueError(f"alphas sum to {sum(alphas)}, more than alpha = {alpha}")


def _allowed_votes(sidecar: Mapping[str, Any]) -> tuple[int, ...]:
  """The stages, and 0 for a point that was given up after the n0 samples."""
  return (0, *sidecar["stages"])


def _alphas(sidecar: Mapping[str, Any], totals: np.ndarray) -> np.ndarray:
  alphas = np.array([sidecar["alpha"], *sidecar["alphas"]])  # For 0 votes: any.
  return alphas[np.searchsorted(_allowed_votes(sidecar), totals)]


ENTRY = rule.SamplingRule(
  "aca",
  make,
  "whether there is a certificate, whatever its radius: by far the fewest samples",
  bound=BONFERRONI,
  check=_check,
  allowed_votes=_allowed_votes,
  alphas=_alphas,
  has_radius=False,
  note="Sampling was for ACA alone: the others were drawn in stages, and no more of them "
  "once the class was surely above 1/2, or hopeless; the bound of each stage has its share "
  "of &alpha;. With all of them a point took $samples copies on average. Radii found in "
  "this way are valid but say little, so there is no ACR and no picture of radii.",
)
