"""What tighter statistics would save: measured, and not adopted (docs/sound.md says why).

  python -m pacd_jax.bench.tighter

Simulates 4,000 test points, whose Phi^-1(p_A) is normal in each of four rows as on clean
and poisoned victims of MNIST at sigma 0.5, and a classifier of digits:

- randomised Clopper-Pearson bounds (Stevens, 1950, Biometrika 37) against ordinary ones;
- confidence sequences, the two uses of Voracek (2024), "Treatment of Statistical Estimation
  Problems in Randomized Smoothing for Adversarial Robustness" (NeurIPS 2024), against the
  sampling rules aca and adaptive;
- the second-order certificate of Levine et al. (2020), https://arxiv.org/abs/2010.10549.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special as special

from pacd_jax import losses, train
from pacd_jax.bench.tighter_bounds import (
  randomised_lower,
  second_order_radius,
  sequence_lower,
  steepness,
)
from pacd_jax.certification import confidence, sampling
from pacd_jax.data import arrays, training_sets
from pacd_jax.experiment.entries import data_sets, networks

_ALPHA, _N0, _N = 0.001, 100, 100_000
_ROWS = ((3.26, 1.3), (3.07, 0.8), (1.43, 1.5), (-0.43, 1.5))
_SIGMA = 0.25  # Of the classifier of digits.


def _radius(bound: np.ndarray) -> np.ndarray:
  """Radii over sigma; 0 for abstentions."""
  return np.maximum(special.ndtri(np.clip(bound, 0.5, 1.0 - 1e-12)), 0.0)


def points(seed: int = 0, each: int = 1000) -> np.ndarray:
  """p_A of the simulated points."""
  rng = np.random.default_rng(seed)
  return special.ndtr(np.concatenate([rng.normal(*row, each) for row in _ROWS]))


def randomised(p_a: np.ndarray, n: int) -> tuple[float, float]:
  """By how much randomised bounds raise the ACR, and what share of n gives the same ACR."""
  rng = np.random.default_rng(1)
  u = rng.uniform(_ALPHA, 1.0, p_a.shape)  # Under alpha, n of n votes would bound by 1.

  def acr(n, bound):
    votes = np.random.default_rng(2).binomial(n, p_a)
    return _radius(bound(votes, n)).mean()

  ordinary = acr(n, lambda k, n: confidence.clopper_pearson_lower(k, n, _ALPHA))

  def tighter(n):
    return acr(n, lambda k, n: randomised_lower(k, n, _ALPHA, u))

  shares = np.arange(1.0, 0.79, -0.02)
  enough = [tighter(int(share * n)) >= ordinary for share in shares]
  return tighter(n) / ordinary - 1.0, float(shares[enough].min())


def sequential_decision(p_a: np.ndarray, first: int, growth: float) -> tuple[float, float]:
  """Samples and certified share of tests of p <= 1/2 that may stop at any look.

  A point is certified once the mixture of likelihood ratios to 1/2, by the uniform prior
  on (1/2, 1), is 1 / alpha, and given up once that to what n votes certify is 1,000.
  """
  rng = np.random.default_rng(3)
  open_ = rng.binomial(_N0, p_a) > _N0 / 2
  votes, seen, samples = np.zeros(len(p_a)), 0, np.full(len(p_a), float(_N0))
  certified, look = np.zeros(len(p_a), bool), float(first)
  fewest = 0.5 + 0.5 * special.ndtri(1.0 - _ALPHA) / np.sqrt(_N)  # Of n votes.
  while open_.any() and seen < _N:
    step = min(_N, max(seen + 1, int(look))) - seen
    votes[open_] += rng.binomial(step, p_a[open_])
    samples[open_] += step
    seen, look = seen + step, look * growth
    a, b = votes + 1.0, seen - votes + 1.0
    evidence = special.betaln(a, b) + np.log(2.0 * special.betaincc(a, b, 0.5) + 1e-300)
    wins = evidence + seen * np.log(2.0) >= -np.log(_ALPHA)
    against = special.betaln(a, b) + np.log(special.betainc(a, b, fewest) / fewest + 1e-300)
    against -= votes * np.log(fewest) + (seen - votes) * np.log1p(-fewest)
    certified |= open_ & wins
    open_ &= ~wins & (against < np.log(1000.0))
  return samples.mean(), certified.mean()


def sequential_radius(p_a: np.ndarray, loss: float) -> tuple[float, float]:
  """Samples and ACR where sampling stops once n samples promise little more radius."""
  rng = np.random.default_rng(4)
  open_ = rng.binomial(_N0, p_a) > _N0 / 2
  votes, seen, samples = np.zeros(len(p_a)), 0, np.full(len(p_a), float(_N0))
  radii, look = np.zeros(len(p_a)), 500.0
  while open_.any() and seen < _N:
    step = min(_N, int(look)) - seen
    votes[open_] += rng.binomial(step, p_a[open_])
    samples[open_] += step
    seen, look = seen + step, look * 1.3
    now = _radius(sequence_lower(votes[open_], seen, _ALPHA))
    radii[open_] = np.maximum(radii[open_], now)
    share = (votes[open_] + 0.5) / (seen + 1.0)
    promised = _radius(sequence_lower(share * _N, _N, _ALPHA))
    open_[open_] = promised - radii[open_] > loss * promised + 0.001
  return samples.mean(), radii.mean()


def by_rule(p_a: np.ndarray, mode: str) -> tuple[float, float, float]:
  """Samples, ACR (over sigma) and certified share of a sampling rule of the package."""
  rng = np.random.default_rng(5)
  rule = sampling.make(mode, sigma=1.0, n0=_N0, n=_N, alpha=_ALPHA)
  samples, radii = [], []
  for p in p_a:
    point, drawn = rule(0), 0
    asked = next(point)
    while True:
      votes, drawn = rng.binomial(asked, p), drawn + asked
      try:
        asked = point.send(np.array([votes, asked - votes]))
      except StopIteration as end:
        certificate = end.value
        break
    samples.append(drawn)
    radii.append(certificate.radius if certificate.prediction == 0 else 0.0)
  return float(np.mean(samples)), float(np.mean(radii)), float(np.mean(np.array(radii) > 0))


def digits(num_points: int = 30, n: int = 40_000) -> list[tuple[float, float]]:
  """p_A of a small CNN on test digits, and its slope over a linear classifier's.

  The slope is the unbiased estimate from two halves of the noise, without a confidence
  bound: more than any certificate may use.
  """
  splits, shape = data_sets.load("digits"), (8, 8, 1)
  model = networks.make("small_cnn", num_classes=10, image_shape=shape)
  loss = losses.gaussian_augmentation(model.apply, sigma=_SIGMA)
  trainer = train.make(
    model,
    loss,
    lambda num_steps: optax.adam(1e-3),
    image_shape=shape,
    num_epochs=30,
    batch_size=50,
  )
  data = jax.tree.map(jnp.asarray, training_sets.stack([training_sets.whole(splits.train)]))
  rows, keys = train.every_row(train.victim_keys(jax.random.key(0), 1), 1)
  state = trainer.init(keys)
  for _ in range(30):
    state, _ = trainer.epoch(state, data, rows, keys)
  params = jax.tree.map(lambda leaf: leaf[0], state.params)

  @jax.jit
  def halves(image, label, key):
    noise = jax.random.normal(key, (2, n // 2, *shape), jnp.float32)
    noisy = (image + _SIGMA * noise).reshape(-1, *shape)
    is_label = model.apply(params, noisy).argmax(axis=-1) == label
    is_label = is_label.reshape(2, -1).astype(jnp.float32)
    return is_label.mean(), jnp.einsum("hn,hnijc->hijc", is_label, noise) / (n // 2)

  found = []
  images = arrays.to_float(splits.test.images[:num_points])
  for number, (image, label) in enumerate(
    zip(images, splits.test.labels[:num_points], strict=True)
  ):
    key = jax.random.fold_in(jax.random.key(1), number)
    p_a, (one, other) = halves(image, label, key)
    steepest = steepness(special.ndtri(float(p_a)))
    square = max(0.0, float(jnp.vdot(one, other)))
    if 0.5 < p_a < 1.0:
      found.append((float(p_a), float(np.sqrt(square) / steepest)))
  return found


def least_slope(n: int, size: int) -> float:
  """The least upper bound of the slope that n samples give: if the gradient is 0.

  The product of two halves' estimates has then a standard deviation of sqrt(size) / (n/2),
  for p_A near 1; the bound is 3.09 of them, at alpha = 0.001, by the normal approximation.
  """
  return float(np.sqrt(special.ndtri(1.0 - _ALPHA) * np.sqrt(size) / (n / 2)))


def main() -> int:
  """Prints the tables; returns the exit status."""
  write = sys.stdout.write
  p_a = points()
  write("randomised Clopper-Pearson: n, gain of ACR, share of n for the same ACR\n")
  for n in (1_000, 10_000, 100_000):
    gain, share = randomised(p_a, n)
    write(f"  {n:7,}  {100 * gain:5.2f} %  {share:.2f}\n")
  write("certified or not: samples a point, share certified\n")
  samples, _, share = by_rule(p_a, "aca")
  write(f"  aca  {samples:6.0f}  {share:.4f}\n")
  for first, growth in ((8, 1.05), (97, 1.1), (97, 2.0)):
    samples, share = sequential_decision(p_a, first, growth)
    write(f"  sequence, looks at {first} x {growth}^k  {samples:6.0f}  {share:.4f}\n")
  write("radius: samples a point, ACR / sigma\n")
  for mode in ("fixed", "adaptive"):
    samples, acr, _ = by_rule(p_a, mode)
    write(f"  {mode}  {samples:7.0f}  {acr:.4f}\n")
  for loss in (0.005, 0.01, 0.02):
    samples, acr = sequential_radius(p_a, loss)
    write(f"  sequence, stopping within {loss:g}  {samples:7.0f}  {acr:.4f}\n")
  write("second order: p_A, radius / sigma by share of a linear classifier's slope\n")
  for p in (0.6, 0.8, 0.9, 0.99, 0.999):
    steepest = steepness(special.ndtri(p))
    radii = [second_order_radius(p, s * steepest) for s in (1.0, 0.75, 0.5, 0.25, 0.0)]
    write(f"  {p:.3f} " + "".join(f"{radius:7.3f}" for radius in radii) + "\n")
    bounds = [least_slope(n, d) / steepest for d in (64, 784) for n in (1_000, 100_000)]
    write("    least bound of the share: " + "".join(f"{b:7.2f}" for b in bounds) + "\n")
  found = digits()
  shares = [share for _, share in found]
  gains = []
  for p, share in found:
    steepest = steepness(special.ndtri(p))
    best = [second_order_radius(p, min(share, 1.0) * steepest)]
    for n in (1_000, 100_000):
      bound = np.hypot(share * steepest, least_slope(n, 64))
      best.append(second_order_radius(p, min(bound, steepest)))
    gains.append(np.array(best) / special.ndtri(p) - 1.0)
  write(
    f"digits: {len(found)} points with 1/2 < p_A < 1, mean p_A "
    f"{np.mean([p for p, _ in found]):.4f}, median share of the slope "
    f"{np.median(shares):.2f}; mean gain of the radius with the slope known, and with its "
    f"bound from 1,000 and 100,000 samples: {np.round(100 * np.mean(gains, axis=0), 2)} %\n"
  )
  return 0


if __name__ == "__main__":
  sys.exit(main())
