"""What `pacd evade` says: a line for each victim, and what contradicts certificates."""

import pathlib
from typing import Any

import numpy as np

from pacd_jax.results import tables


def said(found: list[dict[str, Any]], about: dict[str, Any], path: pathlib.Path) -> str:
  """The table, and what contradicts certificates."""
  epsilons = [f"{each:g}" for each in about["epsilon"]]
  to = about["targeted"]
  withstands = "robust" if to is None else f"not class {to}"
  where = "on-manifold " if "manifold" in about else ""
  heads = ["data", "seed", *(f"{where}{withstands} {e} %" for e in epsilons)]
  if has_certified := any(each["certified_accuracy"] for each in found):
    heads += [f"certified {e} %" for e in epsilons]
  heads += [f"mean {about['norm']}", "ACR"]
  lines = [tuple(heads)]
  for each in found:
    certified = each["certified_accuracy"] or [None] * len(epsilons) * has_certified
    cells = [each["row"], str(each["seed"])]
    cells += [_percent(value) for value in (*each["robust_accuracy"], *certified)]
    acr = each["acr"]
    cells += [f"{each['mean_distortion']:.3f}", "-" if acr is None else f"{acr:.3f}"]
    lines.append(tuple(cells))
  return "\n".join([tables.aligned(lines), "", *_remarks(found, about), f"{path}"])


def _percent(value: float | None) -> str:
  return "-" if value is None else f"{100.0 * value:.1f}"


def _remarks(found: list[dict[str, Any]], about: dict[str, Any]) -> list[str]:
  what = "the smoothed classifier" if about["smoothed"] else "the base classifier"
  towards = "" if about["targeted"] is None else f" towards class {about['targeted']}"
  count = len(found[0]["points"]["idx"])
  said = [f"{about['attack']} on {what}{towards}, {count} points of each victim"]
  failed = 1.0 - np.mean([each["found"] for each in found])
  if failed:
    said.append(
      f"{100.0 * failed:.1f} % of points withstood every radius, and count with "
      f"{about['max_radius']:g}"
    )
  if "all_classes" in about:
    said.append("points are of all classes, without certificates")
  if manifold := about.get("manifold"):
    said.append(
      f"points are G(E(x) + lambda) of {manifold['name']} with "
      f"{manifold['latent_dimension']} latents, and radii are of lambda: certificates say "
      "nothing of them"
    )
  if "all_classes" in about or "manifold" in about:
    return said
  is_sampled = "procedure" not in about
  if is_sampled and not about["smoothed"]:
    said.append("certificates are of the smoothed classifier: they bound nothing here")
    return said
  below = [(each, one) for each in found for one in each["contradictions"]]
  confirmed = [pair for pair in below if pair[1]["confirmed"]]
  said.append(
    f"distances below a certified radius: {len(below)}; confirmed by "
    f"{'more votes' if is_sampled else 'the classifier'}: {len(confirmed)}"
  )
  for each, one in confirmed:
    why = "a certificate of bounds is never wrong but for rounding"
    if is_sampled:
      why = f"p = {one['p_value']:.2g}; a certificate is wrong with probability alpha"
    said.append(
      f"CONTRADICTION: {each['row']}, seed {each['seed']}, point {one['idx']}: certified "
      f"to {one['certified_radius']:.4f}, fooled at {one['distance']:.4f} ({why})"
    )
  return said
