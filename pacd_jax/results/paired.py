"""Paired differences of the certified radii of two training sets' victims."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from pacd_jax import errors
from pacd_jax.certification import certificates
from pacd_jax.results import evaluate


class Difference(NamedTuple):
  """The difference of two mean certified radii, in image units, or their ratio."""

  mean: float
  low: float  # Ends of the bootstrap interval.
  high: float
  num_victims: int  # On either side.
  num_points: int


def difference(
  records: Sequence[certificates.Record],
  reference: Sequence[certificates.Record],
  *,
  confidence: float = 0.95,
  num_resamples: int = 10_000,
  seed: int = 0,
) -> Difference:
  """The ACR minus the reference's, with an interval over test points and over victims.

    d = (1/SN) sum_{s,i} (r_si - r'_si),   r = 0 for misclassified points

  Victims of one seed have the same initial parameters, mini-batches and noise on either
  side, and both sides have the same points: differences are per victim and per point.
  Victims and points are then resampled independently of each other (the pigeonhole
  bootstrap: Owen, 2007, https://arxiv.org/abs/0712.1111), one fewer than there are, so
  that the variance is unbiased. The interval is d -+ t se, with se the standard deviation
  over resamples and Student's t with S - 1 degrees of freedom, as victims are few; with one
  victim the interval is over points alone, with N - 1 degrees of freedom.

  Args:
    records: certificates of the victims of one training set, by rising seed.
    reference: certificates of another's victims, such as the clean set's.
    confidence: confidence level of the interval, in (0, 1).
    num_resamples: number of bootstrap resamples.
    seed: seed of the resampling.

  Raises:
    errors.InputError: seeds, points or settings differ, or there are no victims or points.
  """
  one, other = _radii(records, reference)
  mean = float((one - other).mean())
  half = _half(one - other, confidence, num_resamples, seed)
  return Difference(mean, mean - half, mean + half, *one.shape)


def ratio(
  records: Sequence[certificates.Record],
  reference: Sequence[certificates.Record],
  *,
  num_resamples: int = 10_000,
) -> Difference:
  """The ACR over the reference's, r = A / B, with an interval as that of `difference`.

  The interval is r -+ h / B, with h of the differences r_si - r r'_si, whose mean is zero
  (the linearisation of a ratio estimator: Cochran, 1977, "Sampling techniques", section
  6.4). Arguments and errors are those of `difference`.

  Raises:
    ValueError: the reference's ACR is zero.
  """
  one, other = _radii(records, reference)
  below = float(other.mean())
  if below == 0.0:
    raise ValueError("the reference's ACR is zero: there is no ratio")
  value = float(one.mean()) / below
  half = _half(one - value * other, num_resamples=num_resamples) / below
  return Difference(value, value - half, value + half, *one.shape)


def _half(
  differences: np.ndarray,
  confidence: float = 0.95,
  num_resamples: int = 10_000,
  seed: int = 0,
) -> float:
  """Half the width of the interval of a mean over victims and points `[S, N]`."""
  generator = np.random.default_rng(seed)
  victims, points = (_weights(generator, n, num_resamples) for n in differences.shape)
  drawn = np.einsum("bs,sn,bn->b", victims, differences, points, optimize=True)
  num_victims, num_points = differences.shape
  freedom = max((num_victims if num_victims > 1 else num_points) - 1, 1)
  return float(stats.t.ppf((1.0 + confidence) / 2.0, freedom) * drawn.std())


def _radii(
  records: Sequence[certificates.Record], reference: Sequence[certificates.Record]
) -> tuple[np.ndarray, np.ndarray]:
  """The radii `[S, N]` of both sides, 0 for misclassified points.

  Raises:
    errors.InputError: victims and points are not paired.
  """
  seeds = [[record.sidecar["seed"] for record in side] for side in (records, reference)]
  if not records or seeds[0] != seeds[1] or not len(records[0].idx):
    raise errors.InputError(
      f"paired differences need test points, and victims of the same seeds: {seeds[0]} "
      f"and {seeds[1]}"
    )
  for record in (*records, *reference):
    evaluate.check_comparable(("one side", record), ("the other", reference[0]))
  one, other = (np.array([*map(evaluate.correct_radius, s)]) for s in (records, reference))
  return one, other


def _weights(generator: np.random.Generator, size: int, number: int) -> np.ndarray:
  """Weights `[number, size]` of `size` items in resamples of `size - 1` draws."""
  drawn = max(size - 1, 1)
  return generator.multinomial(drawn, np.full(size, 1.0 / size), number) / drawn
