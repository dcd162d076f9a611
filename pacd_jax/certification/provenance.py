"""What stands beside a file of certificates: how they were drawn, and what that supports.

A sidecar is a dictionary that JSON can hold. Every one has `FIELDS`, and the fields of
its `sampling` rule; one without a mode or a dtype is older than they are.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from pacd_jax.certification import confidence, sampling

Sidecar = dict[str, Any]
_KINDS = {
  "sigma": float,
  "n0": int,
  "n": int,
  "alpha": float,
  "bound": str,
  "seed": int,
  "indices": list,
  "num_classes": int,
  "counts": str,
}
FIELDS = tuple(_KINDS)
DTYPES = ("float32", "bfloat16")  # What a base classifier computes in.
_OF_OLDER_FILES = {"mode": "fixed", "dtype": "float32"}


def checked(sidecar: Any) -> Sidecar:
  """The sidecar, with mode and dtype; ValueError if it does not say what is needed."""
  if missing := [name for name in FIELDS if name not in sidecar]:
    raise ValueError(f"without {', '.join(missing)}")
  for name, kind in _KINDS.items():
    if not isinstance(sidecar[name], kind):
      raise ValueError(f"{name} is {brief(sidecar[name])}")
  if not all(isinstance(idx, int) for idx in sidecar["indices"]):
    raise ValueError("indices are not whole numbers")
  sigma, n0, n, alpha = (sidecar[name] for name in ("sigma", "n0", "n", "alpha"))
  if not (0.0 < sigma < float("inf") and min(n0, n) >= 1 and 0.0 < alpha < 1.0):
    raise ValueError(f"sigma {sigma}, n0 {n0}, n {n} or alpha {alpha} is out of range")
  sidecar = _OF_OLDER_FILES | sidecar
  for name, known in (("mode", sampling.MODES), ("dtype", DTYPES)):
    if sidecar[name] not in known:
      raise ValueError(f"{name} is {brief(sidecar[name])}, none of {', '.join(known)}")
  mode, bound = sidecar["mode"], sidecar["bound"]
  if bound != sampling.BOUNDS[mode]:
    raise ValueError(f"bound is {brief(bound)}, but in mode {mode} there is none such")
  if mode == "adaptive":
    _check_votes(sidecar, "sizes")
    if not (_are_all([pilot := sidecar.get("pilot")], int) and pilot >= 1):
      raise ValueError(f"pilot is {brief(pilot)}, no number of votes")
  if mode == "aca":
    _check_votes(sidecar, "stages")
    _check_alphas(sidecar)
  return sidecar


def _check_votes(sidecar: Sidecar, name: str) -> None:
  votes = sidecar.get(name)
  rise = _are_all(votes, int) and votes == sorted(set(votes))
  if not (rise and votes[0] >= 1 and votes[-1] == sidecar["n"]):
    raise ValueError(f"{name} is {brief(votes)}, not numbers of votes that rise to n")


def _check_alphas(sidecar: Sidecar) -> None:
  alphas, alpha = sidecar.get("alphas"), sidecar["alpha"]
  one_each = _are_all(alphas, float) and len(alphas) == len(sidecar["stages"])
  if not (one_each and min(alphas) > 0.0):
    raise ValueError(f"alphas is {brief(alphas)}, not one share of alpha for each stage")
  if not sum(alphas) <= alpha * (1.0 + 1e-9):  # Rounding; NaN is refused, too.
    raise ValueError(f"alphas sum to {sum(alphas)}, more than alpha = {alpha}")


def _are_all(values: Any, kind: type) -> bool:
  """Whether it is a list of such values that is not empty."""
  return isinstance(values, list) and {*map(type, values)} == {kind}


def brief(value: Any) -> str:
  """A value in a few characters, and how long it is if it is a list."""
  size = f" ({len(value)} of them)" if isinstance(value, list) else ""
  return reprlib.repr(value) + size


def allowed_votes(sidecar: Mapping[str, Any]) -> tuple[int, ...]:
  """How many votes the counts of one point may sum to, rising.

  In mode aca they may be 0: the point was given up after the n0 samples.
  """
  if sidecar["mode"] == "fixed":
    return (sidecar["n"],)
  if sidecar["mode"] == "adaptive":
    return tuple(sidecar["sizes"])
  return (0, *sidecar["stages"])


def supported_radius(
  sidecar: Mapping[str, Any], counts: np.ndarray, predict: np.ndarray
) -> np.ndarray:
  """The radii that votes support: sigma * Phi^-1(p_A), as when they were certified.

  Args:
    sidecar: one that is `checked`.
    counts: int `[N, K]`, rows of which sum to one of `allowed_votes`.
    predict: int `[N]`, the classes certified, -1 where it abstained.

  Returns:
    float64 `[N]` in image units; 0 where it abstained, and below 0 or -inf where the
    votes are too few for the prediction.
  """
  votes = np.take_along_axis(counts, np.maximum(predict, 0)[:, None], axis=1)[:, 0]
  total, alpha = counts.sum(axis=1), sidecar["alpha"]
  if sidecar["mode"] == "aca":
    allowed = allowed_votes(sidecar)
    alphas = np.array([sidecar["alpha"], *sidecar["alphas"]])  # Of no votes: any.
    alpha = alphas[np.searchsorted(allowed, total)]
  radius = confidence.radius(votes, total, sigma=sidecar["sigma"], alpha=alpha)
  return np.where(predict >= 0, radius, 0.0)


def num_samples(sidecar: Mapping[str, Any], counts: np.ndarray) -> np.ndarray:
  """How many noisy copies each point took, those that chose its class or size included.

  counts: int `[N, K]`, the votes of the certificates. Returns int64 `[N]`.
  """
  return sidecar["n0"] + sidecar.get("pilot", 0) + counts.sum(axis=1)
