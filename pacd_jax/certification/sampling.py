"""Sampling rules: how many noisy copies of a test point are drawn, and when to stop.

A rule is a generator for each point. It asks for samples, is sent their votes, and
returns a certificate that is wrong with probability at most alpha, in every mode:

  fixed     n0 samples choose the class, n others bound its probability: algorithm
            CERTIFY of Cohen et al. (2019), https://arxiv.org/abs/1902.02918.
  adaptive  a pilot sample says how many others are worth drawing, n at most, and is
            then forgotten: the bound is CERTIFY's, of a fresh sample. The radius is
            expected to be at most about 2 % under that of n samples. After
            Input-Specific Sampling, Chen et al. (2022), https://arxiv.org/abs/2112.12084.
  aca       says only whether there is a certificate, whatever its radius: it looks
            again and again, each time by a bound with its share of alpha, until the
            probability is clearly above 1/2 or hopeless. The radius of so few samples
            holds, too, but says little.

On 50 test points and two victims each of clean and of poisoned MNIST, from
configs/mnist_ga.py:fast,sigma=0.5, adaptive took 3.4 times fewer samples than fixed with
n = 100,000, for an ACR that was 1.3 % lower; aca took 152 times fewer, and decided as
fixed did on 199 of the 200 (`pacd_jax/bench/rules.py` compares them on a run's own
victims). tests/certification/sampling_savings_test.py simulates 4,000 such points.

A rule knows nothing of the device; whoever draws the samples drives it:

  point = rule(label)
  k = next(point)
  while True:  # Until StopIteration, whose value is the certificate.
    k = point.send(votes_of_k_fresh_samples)
"""

import functools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from pacd_jax import errors
from pacd_jax.certification import confidence
from pacd_jax.types import Certificate

# `votes = yield k` asks for the votes, int `[K]`, of k fresh noisy copies of the point.
Sampling = Generator[int, np.ndarray, Certificate]


class Rule(NamedTuple):
  """A sampling rule; `rule(label)` starts it for one point.

  The label may be None; where it is known, modes adaptive and aca spend little or nothing
  on a point whose first n0 votes are for another class. The certificate's counts are the
  votes behind its bound: those of the n0 samples and of a pilot are not among them.
  """

  start: Callable[[int | None], Sampling]
  sidecar: dict[str, Any]  # The mode's own fields beside its certificates.

  def __call__(self, label: int | None = None) -> Sampling:
    return self.start(label)


def make(mode: str, *, sigma: float, n0: int, n: int, alpha: float) -> Rule:
  """The rule of this name.

  Args:
    mode: one of `MODES`.
    sigma: standard deviation of the noise, in the units of the images ([0, 1]).
    n0: samples that choose the class.
    n: the most samples that bound its probability; in mode fixed, exactly so many.
    alpha: probability in (0, 1) that a certificate is wrong.

  Raises:
    InputError: an unknown mode, a setting out of range, or an n that cannot certify.
  """
  if mode not in _MODES:
    raise errors.InputError(f"certify: mode {mode!r}: use one of {', '.join(MODES)}")
  for setting, is_in_range, range_ in (
    (f"sigma={sigma}", sigma > 0.0, "more than 0"),
    (f"n0={n0}", n0 >= 1, "at least 1"),
    (f"n={n}", n >= 1, "at least 1"),
    (f"alpha={alpha}", 0.0 < alpha < 1.0, "between 0 and 1"),
  ):
    if not is_in_range:
      raise errors.InputError(f"certify: {setting} is out of range: it must be {range_}")
  if not confidence.can_certify(n, alpha):
    raise errors.InputError(
      f"certify: n={n} is too small for any radius > 0 at alpha={alpha}: use at least "
      f"{confidence.least_votes(alpha)}"
    )
  return _MODES[mode](sigma, n0, n, alpha)


# --- fixed ----------------------------------------------------------------------------


def _fixed(sigma: float, n0: int, n: int, alpha: float) -> Rule:
  def start(unused_label: int | None) -> Sampling:
    counts0 = _votes((yield n0), n0)
    counts = _votes((yield n), n)
    return confidence.certificate(counts0, counts, sigma=sigma, alpha=alpha)

  return Rule(start, {"mode": "fixed", "bound": confidence.BOUND})


# --- adaptive -------------------------------------------------------------------------

# Found by simulation. Stages that share alpha, with no sample thrown away, save 2.0 times
# for the same loss: their smaller shares cost more than the pilot does.
_PILOT = 0.01  # Share of n.
_RATIO, _NUM_SIZES = 2.0**0.5, 14  # Sizes n, n / 1.4, n / 2, ... n / 90.
# What may be lost of the radius that n samples are expected to give: this share of it,
# and so many sigma, which spares the points that hardly have one.
_LOSS, _LEAST_LOSS = 0.0175, 0.001


def _adaptive(sigma: float, n0: int, n: int, alpha: float) -> Rule:
  pilot = max(1, round(_PILOT * n))
  sizes = sorted({max(1, round(n / _RATIO**k)) for k in range(_NUM_SIZES)})
  sizes = tuple(size for size in sizes if confidence.can_certify(size, alpha))
  choose = functools.cache(functools.partial(_size, pilot=pilot, sizes=sizes, alpha=alpha))

  def start(label: int | None) -> Sampling:
    counts0 = _votes((yield n0), n0)
    votes = _votes((yield pilot), pilot)
    top = int(np.argmax(counts0))
    wrong = label is not None and top != label
    size = sizes[0] if wrong else choose(int(votes[top]))
    counts = _votes((yield size), size)
    return confidence.certificate(counts0, counts, sigma=sigma, alpha=alpha)

  sidecar = {"mode": "adaptive", "bound": confidence.BOUND}
  sidecar |= {"pilot": pilot, "sizes": list(sizes)}
  return Rule(start, sidecar)


def _size(count: int, *, pilot: int, sizes: tuple[int, ...], alpha: float) -> int:
  """The smallest size that is expected to lose little of the largest one's radius.

  The expectation is over p_A ~ Beta(count + 1/2, pilot - count + 1/2), what `count` of
  `pilot` votes leave to believe (Jeffreys' prior), by the midpoints of 32 equal shares.
  Whatever is chosen, the certificate holds: its votes are drawn after the choice.
  """
  shares = (np.arange(32) + 0.5) / 32
  p_a = scipy.stats.beta.ppf(shares, count + 0.5, pilot - count + 0.5)[None]
  n = np.array(sizes)[:, None]
  bounds = confidence.clopper_pearson_lower(p_a * n, n, alpha)
  radii = scipy.stats.norm.ppf(np.maximum(bounds, 0.5)).mean(axis=1)  # In sigma.
  little = radii[-1] - radii <= _LOSS * radii[-1] + _LEAST_LOSS
  return sizes[int(np.argmax(little))]


# --- aca ------------------------------------------------------------------------------

BONFERRONI = "clopper_pearson_bonferroni"
_FIRST_STAGE = 64  # The smallest number of votes that is looked at.
_LAST_SHARE = 0.5  # Of alpha, for all n votes; the earlier looks share the rest equally.
_FUTILITY = 0.001  # Probability, at each look, of giving up what n votes would certify.


def _aca(sigma: float, n0: int, n: int, alpha: float) -> Rule:
  """Looks after n, n/2, n/4, ... votes, the fewest first.

  With alpha_k for the k-th look, sum_k alpha_k = alpha, the union bound gives
  P[some bound exceeds p_A] <= alpha whenever and for whatever reason it stops.
  """
  stages = [n]
  while stages[0] // 2 >= _FIRST_STAGE:
    stages.insert(0, stages[0] // 2)
  early = (1.0 - _LAST_SHARE) * alpha / max(1, len(stages) - 1)
  alphas = [early] * (len(stages) - 1) + [alpha - early * (len(stages) - 1)]
  fewest = scipy.stats.binom.isf(alphas[-1], n, 0.5) + 1  # Of n votes, to certify.
  hopeless = scipy.stats.binom.ppf(_FUTILITY, stages, fewest / n)

  def start(label: int | None) -> Sampling:
    counts0 = _votes((yield n0), n0)
    top, counts = int(np.argmax(counts0)), np.zeros(counts0.shape, np.int64)
    if label is not None and top != label:
      return Certificate(prediction=-1, radius=0.0, counts=counts)
    for seen, stage, share, give_up in zip(
      [0, *stages], stages, alphas, hopeless, strict=False
    ):
      counts = counts + _votes((yield stage - seen), stage - seen)
      result = confidence.certificate(counts0, counts, sigma=sigma, alpha=share)
      if result.prediction >= 0 or counts[top] < give_up:
        break
    return result

  sidecar = {"mode": "aca", "bound": BONFERRONI, "stages": stages, "alphas": alphas}
  return Rule(start, sidecar)


def _votes(votes: np.ndarray, expected: int) -> np.ndarray:
  votes = np.asarray(votes)
  if votes.ndim != 1 or votes.sum() != expected:
    raise ValueError(f"asked for {expected} votes, given {votes}")
  return votes


_MODES = {"fixed": _fixed, "adaptive": _adaptive, "aca": _aca}
MODES = tuple(_MODES)
# What a mode's certificates are bounded by.
BOUNDS = {"fixed": confidence.BOUND, "adaptive": confidence.BOUND, "aca": BONFERRONI}
