"""Paired differences: two training sets' certified radii on the same test points."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pacd_jax import certificates, errors


class Difference(NamedTuple):
  """Of a mean certified radius from another's, image units."""

  mean: float
  low: float  # Ends of the bootstrap interval.
  high: float
  num_victims: int
  num_points: int


def difference(
  records: Sequence[certificates.Record],
  reference: Sequence[certificates.Record],
  *,
  confidence: float = 0.95,
  num_resamples: int = 10_000,
  seed: int = 0,
) -> Difference:
  """ACR less the reference's, with an interval over test points and over victims.

    d = (1/SN) sum_{s,i} r_si - (1/S'N) sum_{s,i} r'_si,   r = 0 where wrong

  A two-way percentile bootstrap (Efron & Tibshirani, 1993, sections 8 and 13): points are
  drawn once for both sides, since both were certified on the same ones, and the victims of
  each side for themselves, since seed k of one shares nothing with seed k of the other but
  its first parameters. With one victim the interval is over points alone.

  Args:
    records: certificates of the victims of one training set.
    reference: of another, such as the clean one.
    confidence: of the interval, in (0, 1).
    num_resamples: of the bootstrap.
    seed: of its draws.

  Raises:
    errors.InputError: the points differ, or there are none.
  """
  if not records or not reference or not len(records[0].idx):
    raise errors.InputError("paired differences need victims and test points on both sides")
  for record in (*records, *reference):
    if not np.array_equal(record.idx, reference[0].idx):
      raise errors.InputError(
        "paired differences need the same test points on both sides: certify them anew"
      )
  sides = [
    np.array([np.where(r.predict == r.label, r.radius, 0.0) for r in side])
    for side in (records, reference)
  ]
  generator, num_points = np.random.default_rng(seed), len(records[0].idx)
  points = generator.multinomial(
    num_points, np.full(num_points, 1.0 / num_points), num_resamples
  )
  resampled = [_means(generator, radii, points / num_points) for radii in sides]
  tail = (1.0 - confidence) / 2.0
  low, high = np.quantile(resampled[0] - resampled[1], [tail, 1.0 - tail])
  mean = sides[0].mean() - sides[1].mean()
  return Difference(float(mean), float(low), float(high), len(records), num_points)


def _means(
  generator: np.random.Generator, radii: np.ndarray, points: np.ndarray
) -> np.ndarray:
  """Means of `[S, N]` radii under weights `[B, N]` of points and drawn ones of victims."""
  number = len(radii)
  victims = generator.multinomial(number, np.full(number, 1.0 / number), len(points))
  return np.einsum("bs,sn,bn->b", victims / number, radii, points, optimize=True)
