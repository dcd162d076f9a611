"""Sampling rule `adaptive`: a pilot says how many samples a point is worth.

After Input-Specific Sampling, Chen et al. (2022), https://arxiv.org/abs/2112.12084.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.special

from pacd_jax.certification import confidence
from pacd_jax.certification.rules import rule

# Found by simulation. Stages that share alpha, with no sample thrown away, save 2.0 times
# for the same loss: their smaller shares cost more than the pilot does.
_PILOT = 0.01  # Share of n.
_RATIO, _NUM_SIZES = 2.0**0.5, 14  # Sizes n, n / 1.4, n / 2, ... n / 90.
# What may be lost of the radius that n samples are expected to give: this share of it,
# and so many sigma, which spares the points that hardly have one.
_LOSS, _LEAST_LOSS = 0.0175, 0.001


def make(settings: rule.Settings, options: Any = None) -> rule.Rule:
  """A pilot sample says how many others are worth drawing, and is then forgotten.

  The bound is CERTIFY's, of a fresh sample of at most n. The radius is expected to be at
  most about 2 % under that of n samples.
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
  """The smallest size that is expected to lose little of the largest one's radius.

  The expectation is over p_A ~ Beta(count + 1/2, pilot - count + 1/2), what `count` of
  `pilot` votes leave to believe (Jeffreys' prior), by the midpoints of 32 equal shares.
  Whatever is chosen, the certificate holds: its votes are drawn after the choice.
  """
  shares = (np.arange(32) + 0.5) / 32
  p_a = scipy.special.betaincinv(count + 0.5, pilot - count + 0.5, shares)[None]
  n = np.array(sizes)[:, None]
  bounds = confidence.clopper_pearson_lower(p_a * n, n, alpha)
  radii = scipy.special.ndtri(np.maximum(bounds, 0.5)).mean(axis=1)  # In sigma.
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
