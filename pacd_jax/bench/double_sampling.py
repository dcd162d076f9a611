"""What votes under a second noise (DSRS) would gain: measured, not adopted (docs/sound.md).

  python -m pacd_jax.bench.double_sampling RUN [--rows=clean,pacd] [--degrees=24]

takes a finished run's victims of seed 0. It draws votes for the label of points of the
target class under the run's noise P = N(0, sigma^2 I) and under several second noises Q,
and compares the ACR, at the same n and alpha, of

- the ordinary certificate: n votes under P;
- DSRS: n / 2 under P and n / 2 under Q, both bounds at alpha / 2 (Li et al., 2022,
  https://arxiv.org/abs/2206.07912);
- DSRS without a second noise: of the n votes under P those whose noise is in a ball bound
  q_A in it; both bounds at alpha / 2.

Q is chosen by the ACR on points of the validation split, the figures are of the test split.
With --degrees P is a generalised Gaussian of the same variance (`double_sampling_ball`).
"""

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.bench import double_sampling_ball as ball
from pacd_jax.bench.double_sampling_noises import (
  Ball,
  Gaussian,
  Generalised,
  second_noises,
)
from pacd_jax.certification import confidence
from pacd_jax.data import arrays
from pacd_jax.experiment import door, stages

_ALPHA, _SMALL, _BATCH = 0.001, 1000, 5000
_BLOCKS = 10  # Of _SMALL votes, over which the ACR at that n is a mean.


def sampler(apply: types.ApplyFn, params: types.Params, sigma: float) -> Callable[..., Any]:
  """`votes(image, label, norms, key)`: whether noise of these norms, in sigma, keeps it."""

  @jax.jit
  def batch(image, label, norms, key):
    noise = jax.random.normal(key, (len(norms), image.size), jnp.float32)
    noise *= (sigma * norms / jnp.linalg.norm(noise, axis=1))[:, None]
    noisy = image[None] + noise.reshape(-1, *image.shape)
    return apply(params, noisy).argmax(axis=-1) == label

  def votes(image, label, norms, key):
    parts = norms.astype(np.float32).reshape(-1, _BATCH)
    keys = jax.random.split(key, len(parts))
    drawn = [batch(image, label, part, key) for part, key in zip(parts, keys, strict=True)]
    return np.concatenate(jax.device_get(drawn))

  return votes


@dataclasses.dataclass(frozen=True)
class Drawn:
  """Votes of points under P `[M, n]` with the norms of its noise `[n]`, and under Qs."""

  first: Gaussian | Generalised
  norms: np.ndarray
  under_p: np.ndarray
  under_q: dict[Any, np.ndarray]


def draw(
  votes: Callable[..., Any],
  points: types.Dataset,
  first: Gaussian | Generalised,
  noises: Sequence[Gaussian | Ball],
  n: int,
  seed: int,
) -> Drawn:
  """n votes of every point under P and n / 2 under each Q; all points share the norms."""
  rng, images = np.random.default_rng(seed), arrays.to_float(points.images)
  found = []
  each = [
    first.norms(rng.random(n)),
    *(noise.norms(rng.random(n // 2)) for noise in noises),
  ]
  for number, norms in enumerate(each):
    key = jax.random.fold_in(jax.random.key(seed), number)
    keys = jax.random.split(key, len(images))
    asked = zip(images, points.labels, keys, strict=True)
    found.append(np.stack([votes(x, label, norms, key) for x, label, key in asked]))
  return Drawn(first, each[0], found[0], dict(zip(noises, found[1:], strict=True)))


@functools.cache
def _ordinary(first: Gaussian | Generalised, p_lower: float) -> float:
  return first.ordinary(p_lower)


@functools.cache
def _radius(noise: Gaussian | Ball, p_lower: float, low: float, high: float) -> float:
  return noise.radius(p_lower, low, high)


def _lower(votes: np.ndarray, alpha: float) -> float:
  return float(confidence.clopper_pearson_lower(votes.sum(), len(votes), alpha))


def _interval(votes: np.ndarray, alpha: float) -> tuple[float, float]:
  return _lower(votes, 0.5 * alpha), 1.0 - _lower(~votes, 0.5 * alpha)


def _over_blocks(votes: np.ndarray, n: int, of: Callable[..., float]) -> np.ndarray:
  """Means over disjoint blocks of n votes, at most _BLOCKS, `[M]`."""
  blocks = min(_BLOCKS, votes.shape[1] // n)
  cuts = [slice(block * n, (block + 1) * n) for block in range(blocks)]
  found = [[of(point, cut) for cut in cuts] for point in range(len(votes))]
  return np.mean(found, axis=1)


def ordinary(drawn: Drawn, n: int) -> np.ndarray:
  """Radii over sigma `[M]` of n votes under P."""

  def of(point, cut):
    return _ordinary(drawn.first, _lower(drawn.under_p[point, cut], _ALPHA))

  return _over_blocks(drawn.under_p, n, of)


def double(drawn: Drawn, noise: Gaussian | Ball, n: int) -> np.ndarray:
  """Radii of n / 2 votes under P and n / 2 under Q."""

  def of(point, cut):
    first, start = cut.start, cut.start // 2
    under_p = drawn.under_p[point, first : first + n // 2]
    p_lower = _lower(under_p, 0.5 * _ALPHA)
    under_q = drawn.under_q[noise][point, start : start + n // 2]
    return _radius(noise, p_lower, *_interval(under_q, 0.5 * _ALPHA))

  return _over_blocks(drawn.under_p, n, of)


def single(drawn: Drawn, noise: Ball, n: int) -> np.ndarray:
  """Radii of n votes under P, some of which are in the ball."""
  is_inside = drawn.norms <= noise.norms(np.ones(1))

  def of(point, cut):
    under_p = drawn.under_p[point, cut]
    in_both = _interval(under_p & is_inside[cut], 0.5 * _ALPHA)
    low, high = (min(1.0, end / noise.share) for end in in_both)
    return _radius(noise, _lower(under_p, 0.5 * _ALPHA), low, high)

  return _over_blocks(drawn.under_p, n, of)


def known(drawn: Drawn) -> dict[str, np.ndarray]:
  """Radii if the shares of votes were the probabilities; of points with 100 of each vote.

  "by chance" is of classifiers that p_A alone certifies least for, drawn as often: their
  gain is the error of the shares.
  """
  rng, n = np.random.default_rng(7), drawn.under_p.shape[1]
  found: dict[str, list[float]] = {}
  for point, votes in enumerate(drawn.under_p):
    p_a = float(votes.mean())
    if not 0.5 < p_a <= 1.0 - 100 / n:
      continue
    radii = {"ordinary": _ordinary(drawn.first, p_a)}
    for noise, under_q in drawn.under_q.items():
      q_a = min(1.0, noise.least_favourable(p_a))
      by_chance = rng.binomial(n // 2, q_a) / (n // 2)
      q_a = float(under_q[point].mean())
      radii[f"{noise}"] = _radius(noise, p_a, q_a, q_a)
      radii[f"{noise}, by chance"] = _radius(noise, p_a, by_chance, by_chance)
    for name, radius in radii.items():
      found.setdefault(name, []).append(radius)
  return {name: np.array(radii) for name, radii in found.items()}


def _gain(radii: np.ndarray, base: np.ndarray) -> str:
  """The gain of the mean, in percent, with its standard error over points."""
  of_mean = 100.0 / max(float(base.mean()), 1e-9)
  change = (radii - base) * of_mean
  error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else np.nan
  return f"{change.mean():+6.2f} +- {error:.2f} %"


def report(validation: Drawn, test: Drawn, gaussian: Drawn | None) -> None:
  """Chooses on one, and prints of the other; if P is not N(0, I), against that, too."""
  write, most = sys.stdout.write, test.under_p.shape[1]
  write(f"  P: {test.first}\n")
  for n in (_SMALL, most):
    base, against = ordinary(test, n), ordinary(validation, n)
    write(f"    n = {n:,}: ACR / sigma {base.mean():.4f}\n")
    for title, of in (("half under Q", double), ("all under P", single)):
      fitting = [q for q in test.under_q if of is double or isinstance(q, Ball)]
      radii = {q: of(validation, q, n) for q in fitting}
      best = max(radii, key=lambda q: radii[q].mean())
      found = of(test, best, n)
      write(f"      {title}: {_gain(found, base)}, {best}\n")
      if gaussian is not None:
        than = ordinary(gaussian, n)
        write(f"        than N(0, I)'s {than.mean():.4f}: {_gain(found, than)}\n")
      tried = ", ".join(f"{q}: {_gain(radii[q], against)}" for q in radii)
      write(f"        on validation {tried}\n")
  exact = known(test)
  if exact:
    base = exact.pop("ordinary")
    write(f"    known, {len(base)} points, mean radius / sigma {base.mean():.4f}\n")
    for name, radii in exact.items():
      write(f"      {name}: {_gain(radii, base)}\n")


def _points(dataset: types.Dataset, target_class: int, most: int) -> types.Dataset:
  chosen = arrays.class_indices(dataset, target_class)[:most]
  return types.Dataset(dataset.images[chosen], dataset.labels[chosen])


def main(arguments: Sequence[str] | None = None) -> int:
  """Prints the comparison; returns the exit status."""
  parser = argparse.ArgumentParser(prog="python -m pacd_jax.bench.double_sampling")
  parser.add_argument("run", help="the folder of a finished run")
  parser.add_argument("--rows", help="training sets: clean,pacd; by default all")
  parser.add_argument("--data_dir", default="", help="of prepared data, if it has moved")
  parser.add_argument("--num_points", type=int, default=40, help="of each split, at most")
  parser.add_argument("--n", type=int, default=100_000, help="a multiple of 10,000")
  parser.add_argument("--degrees", type=float, default=0.0, help="of a generalised P")
  chosen = parser.parse_args(arguments)
  if chosen.n < 10_000 or chosen.n % 10_000:
    parser.error(f"--n={chosen.n}: give a multiple of 10,000")
  plan = door.load(chosen.run, data_dir=chosen.data_dir)
  rows = chosen.rows.split(",") if chosen.rows else plan.rows
  if not set(rows) <= set(plan.rows):
    parser.error(f"--rows={chosen.rows}: the run has {','.join(plan.rows)}")
  size = int(np.prod(plan.splits.test.images.shape[1:]))
  if not 0.0 <= chosen.degrees <= size:
    parser.error(f"--degrees={chosen.degrees:g}: give at most {size}, the pixels")
  params = stages.load_victims(plan)
  first = gaussian = Gaussian(size)
  if chosen.degrees:
    first = Generalised(ball.Noise(size, chosen.degrees))
  noises = second_noises(first, size)
  splits = (plan.splits.validation, plan.splits.test)
  parts = [_points(split, plan.target_class, chosen.num_points) for split in splits]
  for row in rows:
    votes = sampler(plan.model.apply, params[row, 0], plan.sigma)
    validation, test = (
      draw(votes, part, first, noises, chosen.n, 1 + i) for i, part in enumerate(parts)
    )
    of_gaussian = None
    if first is not gaussian:
      of_gaussian = draw(votes, parts[1], gaussian, (), chosen.n, 3)
    sys.stdout.write(f"{row}: {len(test.under_p)} test points\n")
    report(validation, test, of_gaussian)
  return 0


if __name__ == "__main__":
  sys.exit(main())
