"""The numbers of `pacd evade`: what an attack finds on a victim, beside its certificates.

A certified radius is a lower bound of every distance at which the smoothed classifier's
prediction changes, except with the probability alpha that the certificate is wrong.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from pacd_jax import types
from pacd_jax.certification import certificates, distortion, provenance
from pacd_jax.results import evaluate

_POINTS_AT_ONCE = 200  # Beside which each of them has 100 noisy copies.


class Attack(NamedTuple):
  """What is done to every victim."""

  evade: types.EvasionFn
  search: distortion.Search
  sigma: float  # 0: the base classifier is attacked.
  epsilons: tuple[float, ...]
  target: int | None  # The class that images are to get; None: any but their own.
  num_confirming: int = 10_000  # Votes on what would contradict a certificate.
  # Whether it moves latents, of which no certificate says anything; `Points.images` are
  # then latents `[B, 1, 1, d]`, and so is what the classifier takes.
  of_latents: bool = False


class Points(NamedTuple):
  """Images with their classes, and what was certified of them."""

  images: types.Array  # float32 `[B, H, W, C]`.
  labels: np.ndarray  # `[B]`.
  # `[B]`: their lines in the victim's certificates, or else their places in the split.
  places: np.ndarray


class _Nearest(NamedTuple):
  """The nearest that the attack finds of each point."""

  distance: np.ndarray  # `[B]`, in the attack's norm.
  is_found: np.ndarray  # bool `[B]`.
  wrong: np.ndarray  # bool `[B]`: without a perturbation.
  delta: np.ndarray  # `[B, H, W, C]`.


def measure(
  attack: Attack,
  apply: types.ApplyFn,
  params: types.Params,
  points: Points,
  record: certificates.Record | None,
  key: types.Key,
) -> dict[str, Any]:
  """The numbers of one victim, for JSON: of each point, and their means; key consumed.

  `record` has the points' certificates; None: they have none.
  """
  labels = points.labels
  found = _found(attack, apply, params, points, key)
  distance, is_found, delta = found.distance, found.is_found, found.delta
  l2 = _size(delta, "l2")
  has_radius = record is not None and provenance.has_radius(record.sidecar)
  idx = points.places if record is None else record.idx[points.places]
  measured: dict[str, Any] = {
    "robust_accuracy": [_share(~(is_found & (distance <= e))) for e in attack.epsilons],
    "certified_accuracy": None,
    "mean_distortion": float(distance.mean()),
    "found": _share(is_found),
    # Of the same votes; those on a wanted class say nothing of the points' own.
    "clean_accuracy": _share(~found.wrong) if attack.target is None else None,
    "acr": None,
    "points": {
      "idx": idx.tolist(),
      "label": labels.tolist(),
      "distance": distance.astype(float).tolist(),
      "is_found": is_found.tolist(),
      "l2": np.where(is_found, l2, -1.0).tolist(),
    },
    "contradictions": [],
  }
  if record is None or not has_radius:
    return measured
  certified = evaluate.correct_radius(record)[points.places]
  measured["acr"] = float(certified.mean())
  has_votes = provenance.has_votes(record.sidecar)
  if not attack.of_latents:
    norms = attack.evade.norm, certified_norm(record)
    radii = [_radius_of(e, *norms, points.images) for e in attack.epsilons]
    measured["certified_accuracy"] = [
      # Verified balls are closed, and of float32 radii.
      _share(certified > r if has_votes else certified >= np.float32(r))
      for r in radii
    ]
    measured["points"]["certified_radius"] = certified.tolist()
  # Only what was certified can be contradicted: the smoothed classifier, or else the base.
  if not attack.of_latents and has_votes == bool(attack.sigma):
    places = np.flatnonzero(is_found & (_size(delta, certified_norm(record)) < certified))
    measured["contradictions"] = [
      _contradiction(attack, apply, params, points, record, place, delta[place], key)
      for place in places.tolist()
    ]
  return measured


def certified_norm(record: certificates.Record) -> str:
  """The norm of a record's radii: "l2" of smoothing, else the procedure's."""
  return record.sidecar["norm"] if "procedure" in record.sidecar else "l2"


def _size(delta: np.ndarray, norm: str) -> np.ndarray:
  """|delta_i|_norm, float64 `[B]`."""
  exact = np.abs(delta.astype(np.float64)).reshape(len(delta), -1)
  return exact.max(axis=1) if norm == "linf" else np.sqrt((exact**2).sum(axis=1))


def _found(attack, apply, params, points, key) -> _Nearest:
  """Part by part, so that memory does not depend on the number of points.

  Up to `_POINTS_AT_ONCE` points are one part, whose key is the whole's.
  """
  number = -(-len(points.labels) // _POINTS_AT_ONCE)
  keys = key[None] if number == 1 else jax.random.split(jax.random.clone(key), number)
  parts = []
  for part, of_part in enumerate(keys):
    own = slice(part * _POINTS_AT_ONCE, (part + 1) * _POINTS_AT_ONCE)
    labels = points.labels[own]
    wanted = labels if attack.target is None else np.full_like(labels, attack.target)
    given = apply, params, points.images[own], jnp.asarray(wanted)
    parts.append(_found_of_part(attack, given, of_part))
  return _Nearest(*map(np.concatenate, zip(*parts, strict=True)))


def _found_of_part(attack, given, key) -> _Nearest:
  """By the search over radii, and at each epsilon if that is where the attack looks."""
  common = {"sigma": attack.sigma, "search": attack.search, "attack": attack.evade}
  found = distortion.distances(*given, jax.random.fold_in(key, 0), **common, keeps=True)
  distance, is_found = np.array(found.distance), np.array(found.is_found)
  wrong, delta = np.array(found.wrong), np.array(found.delta)
  # The least perturbation is the same for every epsilon, and the search has it.
  radii = () if attack.evade.finds_least else attack.epsilons
  for number, radius in enumerate(radii, start=1):
    of_one = distortion.within(
      *given, jax.random.fold_in(key, number), wrong=found.wrong, radius=radius, **common
    )
    size, fooled = np.asarray(of_one.distance), np.asarray(of_one.is_found)
    better = fooled & ((size < distance) | ~is_found)
    distance[better], delta[better] = size[better], np.asarray(of_one.delta)[better]
    is_found |= fooled
  return _Nearest(distance, is_found, wrong, delta)


def _share(holds: np.ndarray) -> float:
  return float(np.mean(holds))


def _radius_of(epsilon: float, norm: str, other: str, images: types.Array) -> float:
  """The radius of another norm's smallest ball around that of a norm.

  It is epsilon sqrt(d) for l2 around l_inf, and epsilon for l_inf around l2.
  """
  around = (norm, other) == ("linf", "l2")
  return epsilon * float(np.sqrt(images[0].size)) if around else epsilon


def _contradiction(attack, apply, params, points, record, place, delta, key):
  """What many more votes say of a perturbation below a certified radius.

  Of a deterministic certificate the base classifier itself decides, in one vote.
  """
  has_votes = provenance.has_votes(record.sidecar)
  (votes,) = distortion.num_votes(
    apply,
    params,
    (points.images[place] + delta)[None],
    jax.random.fold_in(jax.random.fold_in(key, 1 + len(attack.epsilons)), place),
    sigma=attack.sigma,
    num=attack.num_confirming if has_votes else 1,
  )
  votes = np.asarray(votes, int)
  line = points.places[place]
  predicted = int(record.predict[line])
  p_value = p_value_against(votes, predicted) if has_votes else float(votes[predicted])
  return {
    "idx": int(record.idx[line]),
    "certified_radius": float(record.radius[line]),
    "l2": float(_size(delta[None], "l2")[0]),
    "distance": float(_size(delta[None], certified_norm(record))[0]),
    "votes": votes.tolist(),
    "p_value": p_value,
    "confirmed": p_value <= record.sidecar.get("alpha", 0.0),
  }


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
