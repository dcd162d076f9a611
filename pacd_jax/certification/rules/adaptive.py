"""Sampling rule `adaptive`: a pilot sample chooses the sample size of each point.

After Input-Specific Sampling, Chen et al. (2022), https://arxiv.org/abs/2112.12084.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.special

from pacd_jax.certification import confidence
from pacd_jax.certification.rules import rule

# Found by simulation. Stages that share alpha and discard no sample save a factor of only
# 2.0 for the same loss of radius: their smaller shares of alpha cost more than the pilot.
_PILOT = 0.01  # Pilot size as a share of n.
_RATIO, _NUM_SIZES = 2.0**0.5, 14  # Sizes n, n / 1.4, n / 2, ... n / 90.
# Allowed loss of the radius that n samples are expected to give: this share of it, plus
# this many sigma, which saves samples at points whose radius is nearly 0.
_LOSS, _LEAST_LOSS = 0.0175, 0.001


def make(settings: rule.Settings, options: Any = None) -> rule.Rule:
  """Chooses a point's sample size by a pilot sample, which is then discarded.

  The bound is that of CERTIFY, for a fresh sample of at most n. The expected radius is at
  most about 2 % below that of n samples.
  """
  del options
  sigma, n0, n, alpha = settings
  pilot = max(1, round(_PILOT * n))
  sizes = sorted({max(1, round(n / _RATIO**k)) for k in range(_NUM_SIZES)})
  sizes = tuple(size for size in sizes if confidence.can_certify(size, alpha))
  choose = functools.cache(functools.partial(_size, pilot=pilot, sizes=sizes, alpha=alpha))

  def start(label: int | None):
    counts0 = rule.votes_of((yield n0), n0)
    votes = rule.votes_of((yield pilot), pilot)
    top = int(np.argmax(counts0))
    wrong = label is not None and top != label
    size = sizes[0] if wrong else choose(int(votes[top]))
    counts = rule.votes_of((yield size), size)
    return confidence.certificate(counts0, counts, sigma=sigma, alpha=alpha)

  return rule.Rule(start, {"pilot": pilot, "sizes": list(sizes)})


def _size(count: int, *, pilot: int, sizes: tuple[int, ...], alpha: float) -> int:
  """The smallest size whose expected radius is little below that of the largest size.

  The expectation is over p_A ~ Beta(count + 1/2, pilot - count + 1/2), the posterior given
  `count` of `pilot` votes (Jeffreys' prior), at the midpoints of 32 equally likely shares.
  The certificate is valid for any choice, as its votes are drawn after the choice.
  """
  shares = (np.arange(32) + 0.5) / 32
  p_a = scipy.special.betaincinv(count + 0.5, pilot - count + 0.5, shares)[None]
  n = np.array(sizes)[:, None]
  bounds = confidence.clopper_pearson_lower(p_a * n, n, alpha)
  radii = scipy.special.ndtri(np.maximum(bounds, 0.5)).mean(axis=1)  # In units of sigma.
  little = radii[-1] - radii <= _LOSS * radii[-1] + _LEAST_LOSS
  return sizes[int(np.argmax(little))]


def _check(sidecar: Mapping[str, Any]) -> None:
  rule.check_sizes(sidecar, "sizes")
  pilot = sidecar.get("pilot")
  if type(pilot) is not int or pilot < 1:
    raise ValueError(f"pilot is {rule.brief(pilot)}, no number of votes")


ENTRY = rule.SamplingRule(
  "adaptive",
  make,
  "at most n, by what a pilot sample says: about 2 % under the radius of n samples",
  bound=confidence.BOUND,
  check=_check,
  allowed_votes=lambda sidecar: tuple(sidecar["sizes"]),
  alphas=rule.alpha_of_all,
  extra_samples=lambda sidecar: sidecar["pilot"],
  note="Sampling was adaptive: how many others, a further small sample decided for "
  "each point, so that its radius is expected to be at most about 2 % under that of $n "
  "copies. With all of them a point took $samples copies on average.",
)
