"""The sidecar of a file of certificates: how they were drawn, and the radii it supports.

A sidecar is a dictionary that JSON can hold. That of randomized smoothing has `FIELDS`, and
the fields of its sampling rule, and of `soundness` where its certificates are sound. That
of a deterministic procedure has `procedure` and what `deterministic.Verification` adds; its
points have no votes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pacd_jax.certification import confidence, sampling, soundness
from pacd_jax.certification.rules.rule import Sidecar, brief

_KINDS = {
  "mode": str,
  "dtype": str,
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
_WITHOUT_VOTES = {
  "procedure": str,
  "norm": str,
  "epsilon": float,
  "most": float,
  "num_halvings": int,
  "dtype": str,
  "seed": int,
  "indices": list,
  "num_classes": int,
}
_MOST_CLASSES = 10**6
NORMS = ("linf", "l2")  # Of the balls of deterministic certificates.
VERIFIED_ACCURACY = "verified_accuracy"  # A field: over all classes, at epsilon.
DTYPES = ("float32", "bfloat16")  # Dtypes in which a base classifier computes.


def checked(sidecar: Any) -> Sidecar:
  """Returns the sidecar; raises ValueError if a field is missing or invalid."""
  if not isinstance(sidecar, dict):
    raise ValueError("no object")
  fields = _KINDS if has_votes(sidecar) else _WITHOUT_VOTES
  if missing := [name for name in fields if name not in sidecar]:
    raise ValueError(f"without {', '.join(missing)}")
  for name, kind in fields.items():
    if not isinstance(sidecar[name], kind):
      raise ValueError(f"{name} is {brief(sidecar[name])}")
  if not all(isinstance(idx, int) for idx in sidecar["indices"]):
    raise ValueError("indices are not whole numbers")
  if not 1 <= sidecar["num_classes"] <= _MOST_CLASSES:
    raise ValueError(f"num_classes is {sidecar['num_classes']}")
  if not isinstance(sidecar.get("digests", []), list):
    raise ValueError(f"digests are {brief(sidecar['digests'])}")
  (_check_sampling if has_votes(sidecar) else _check_balls)(sidecar)
  return sidecar


def has_votes(sidecar: Mapping[str, Any]) -> bool:
  """Whether the certificates rest on votes of noisy copies, as those of smoothing do."""
  return "procedure" not in sidecar


def has_radius(about: Mapping[str, Any]) -> bool:
  """Whether radii are meaningful: of a sidecar, or of a row of results, which has its mode.

  A row of a deterministic procedure has the mode None.
  """
  mode = about.get("mode")
  return mode is None or sampling.RULES[mode].has_radius


def _check_balls(sidecar: Sidecar) -> None:
  """Raises ValueError unless the settings of a deterministic procedure are in range."""
  if sidecar["norm"] not in NORMS:
    raise ValueError(f"norm is {brief(sidecar['norm'])}, none of {', '.join(NORMS)}")
  epsilon, most = sidecar["epsilon"], sidecar["most"]
  if not (0.0 < epsilon <= most < float("inf") and sidecar["num_halvings"] >= 0):
    raise ValueError(f"epsilon {epsilon} or most {most} is out of range")
  if sidecar["dtype"] != DTYPES[0]:
    raise ValueError(f"dtype is {brief(sidecar['dtype'])}, but bounds are in {DTYPES[0]}")


def _check_sampling(sidecar: Sidecar) -> None:
  """Raises ValueError unless the settings of randomized smoothing are in range."""
  sigma, n0, n, alpha = (sidecar[name] for name in ("sigma", "n0", "n", "alpha"))
  if not (0.0 < sigma < float("inf") and min(n0, n) >= 1 and 0.0 < alpha < 1.0):
    raise ValueError(f"sigma {sigma}, n0 {n0}, n {n} or alpha {alpha} is out of range")
  for name, known in (("mode", sampling.RULES.names), ("dtype", DTYPES)):
    if sidecar[name] not in known:
      raise ValueError(f"{name} is {brief(sidecar[name])}, none of {', '.join(known)}")
  mode, bound = sidecar["mode"], sidecar["bound"]
  soundness.check_sidecar(sidecar)
  suffix = soundness.SUFFIX if "sound" in sidecar else ""
  if bound != sampling.RULES[mode].bound + suffix:
    raise ValueError(f"bound is {brief(bound)}, but in mode {mode} there is none such")
  sampling.RULES[mode].check(sidecar)


def allowed_votes(sidecar: Mapping[str, Any]) -> tuple[int, ...]:
  """The numbers that the votes of one point may sum to, in rising order."""
  return sampling.RULES[sidecar["mode"]].allowed_votes(sidecar)


def supported_radius(
  sidecar: Mapping[str, Any], counts: np.ndarray, predict: np.ndarray
) -> np.ndarray:
  """The radii that votes support: sigma * Phi^-1(p_A), computed as in certification.

  Args:
    sidecar: a `checked` sidecar.
    counts: int `[N, K]`, whose rows sum to one of `allowed_votes`.
    predict: int `[N]`, the certified classes, -1 for abstentions.

  Returns:
    float64 `[N]` in image units; 0 for abstentions, and negative or -inf where the votes
    are too few for the prediction.
  """
  votes = np.take_along_axis(counts, np.maximum(predict, 0)[:, None], axis=1)[:, 0]
  totals = counts.sum(axis=1)
  alphas = sampling.RULES[sidecar["mode"]].alphas(sidecar, totals)
  radius = confidence.radius(votes, totals, sigma=sidecar["sigma"], alpha=alphas)
  if "sound" in sidecar:
    radius = soundness.radius(radius, sigma=sidecar["sigma"], slack=sidecar["slack"])
  return np.where(predict >= 0, radius, 0.0)


def num_samples(sidecar: Mapping[str, Any], counts: np.ndarray) -> np.ndarray:
  """The noisy copies that each point took, including those that chose its class or size.

  Args:
    sidecar: a `checked` sidecar.
    counts: int `[N, K]`, the votes of the certificates.

  Returns:
    int64 `[N]`; 0 for a deterministic procedure.
  """
  if not has_votes(sidecar):
    return np.zeros(len(counts), np.int64)
  extra = sampling.RULES[sidecar["mode"]].extra_samples(sidecar)
  return sidecar["n0"] + extra + counts.sum(axis=1)
