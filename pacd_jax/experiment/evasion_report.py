"""The numbers of `pacd evade`: what an attack finds on a victim, beside its certificates.

A certified radius is a lower bound of every distance at which the smoothed classifier's
prediction changes, except with the probability alpha that the certificate is wrong.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from pacd_jax import noise, types
from pacd_jax.certification import certificates, distortion, sampling
from pacd_jax.results import evaluate

_VOTES_AT_ONCE = 100


class Attack(NamedTuple):
  """What is done to every victim."""

  evade: types.EvasionFn
  search: distortion.Search
  sigma: float  # 0: the base classifier is attacked.
  epsilons: tuple[float, ...]
  target: int | None  # The class that images are to get; None: any but their own.
  num_confirming: int = 10_000  # Votes on what would contradict a certificate.


class Points(NamedTuple):
  """Images with their classes, and what was certified of them."""

  images: types.Array  # float32 `[B, H, W, C]`.
  labels: np.ndarray  # `[B]`.
  places: np.ndarray  # `[B]`: their lines in the victim's certificates.


def measure(
  attack: Attack,
  apply: types.ApplyFn,
  params: types.Params,
  points: Points,
  record: certificates.Record,
  key: types.Key,
) -> dict[str, Any]:
  """The numbers of one victim, for JSON: of each point, and their means; key consumed."""
  labels = points.labels
  wanted = labels if attack.target is None else np.full_like(labels, attack.target)
  given = apply, params, points.images, jnp.asarray(wanted)
  common = {"sigma": attack.sigma, "search": attack.search, "attack": attack.evade}
  found = distortion.distances(*given, jax.random.fold_in(key, 0), **common, keeps=True)
  distance, delta = np.array(found.distance), np.array(found.delta)
  is_found = np.array(found.is_found, bool)
  for number, epsilon in enumerate(attack.epsilons, start=1):
    of_one = distortion.within(
      *given, jax.random.fold_in(key, number), radius=epsilon, **common
    )
    size, fooled = np.asarray(of_one.distance), np.asarray(of_one.is_found, bool)
    better = fooled & ((size < distance) | ~is_found)
    distance[better], delta[better] = size[better], np.asarray(of_one.delta)[better]
    is_found |= fooled
  l2 = np.sqrt((delta.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))
  has_radius = sampling.RULES[record.sidecar["mode"]].has_radius
  certified = evaluate.correct_radius(record)[points.places]
  measured: dict[str, Any] = {
    "robust_accuracy": [_share(~(is_found & (distance <= e))) for e in attack.epsilons],
    "certified_accuracy": None,
    "mean_distortion": float(distance.mean()),
    "found": _share(is_found),
    "clean_accuracy": _share(distance > 0.0),
    "acr": float(certified.mean()) if has_radius else None,
    "points": {
      "idx": record.idx[points.places].tolist(),
      "label": labels.tolist(),
      "distance": distance.astype(float).tolist(),
      "is_found": is_found.tolist(),
      "l2": np.where(is_found, l2, -1.0).tolist(),
    },
    "contradictions": [],
  }
  if has_radius:
    radii = [_l2_of(e, attack.evade.norm, points.images) for e in attack.epsilons]
    measured["certified_accuracy"] = [_share(certified > radius) for radius in radii]
    measured["points"]["certified_radius"] = certified.tolist()
  if has_radius and attack.sigma:
    places = np.flatnonzero(is_found & (l2 < certified))
    measured["contradictions"] = [
      _contradiction(attack, apply, params, points, record, place, delta[place], key)
      for place in places.tolist()
    ]
  return measured


def _share(holds: np.ndarray) -> float:
  return float(np.mean(holds))


def _l2_of(epsilon: float, norm: str, images: types.Array) -> float:
  """The l2 radius of the smallest ball around that of a norm: epsilon sqrt(d) for l_inf."""
  return epsilon * float(np.sqrt(images[0].size)) if norm == "linf" else epsilon


def _contradiction(attack, apply, params, points, record, place, delta, key):
  """What many more votes say of a perturbation below a certified radius."""
  votes = num_votes(
    apply,
    params,
    points.images[place] + delta,
    jax.random.fold_in(jax.random.fold_in(key, 1 + len(attack.epsilons)), place),
    sigma=attack.sigma,
    num=attack.num_confirming,
  )
  line = points.places[place]
  p_value = p_value_against(np.asarray(votes), int(record.predict[line]))
  return {
    "idx": int(record.idx[line]),
    "certified_radius": float(record.radius[line]),
    "l2": float(np.sqrt((np.asarray(delta, np.float64) ** 2).sum())),
    "votes": np.asarray(votes).tolist(),
    "p_value": p_value,
    "confirmed": p_value <= record.sidecar["alpha"],
  }


@functools.partial(jax.jit, static_argnames=("apply", "num"))
def num_votes(
  apply: types.ApplyFn,
  params: types.Params,
  image: types.Array,
  key: types.Key,
  *,
  sigma: float | types.Array,
  num: int,
) -> types.Array:
  """Votes `[K]` of at least `num` noisy copies of one image `[H, W, C]`; key consumed."""

  def of_some(key):
    logits = noise.noisy_logits(
      apply, params, image[None], key, sigma=sigma, num_samples=_VOTES_AT_ONCE
    )[:, 0]
    return jax.nn.one_hot(logits.argmax(axis=-1), logits.shape[-1], dtype=jnp.int32).sum(0)

  return jax.lax.map(of_some, jax.random.split(key, -(-num // _VOTES_AT_ONCE))).sum(0)


def p_value_against(votes: np.ndarray, predicted: int) -> float:
  """How probable such votes are if no class is likelier than the predicted one.

    (K - 1) P[Bin(n_c + n_p, 1/2) >= n_c],   c the likeliest of the K - 1 other classes

  the test of PREDICT of Cohen et al. (2019), https://arxiv.org/abs/1902.02918, one-sided,
  with Bonferroni's factor for the choice of c; `votes` are int `[K]`.
  """
  others = np.delete(votes, predicted)
  most, own = int(others.max()), int(votes[predicted])
  if not most:
    return 1.0
  tail = float(scipy.special.bdtrc(most - 1, most + own, 0.5))
  return min(1.0, len(others) * tail)
