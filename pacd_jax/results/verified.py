"""The numbers of deterministic certificates: accuracy verified in a ball, beside the radii.

From the files of a row alone: their sidecars say which ball, and hold the verified accuracy
over all classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pacd_jax.certification import certificates, provenance
from pacd_jax.results import evaluate

FIELD = "verified"  # Of a row of results: what `summarize` returns.
# Of a line of `pacd collect`.
COLUMNS = ("procedure", "certified_norm", "certified_epsilon")
COLUMNS += ("verified_mean", "verified_of_all_mean")
_NORMS = {"linf": "l_inf", "l2": "l2"}  # As texts have them.


def summarize(records: Sequence[certificates.Record]) -> dict[str, Any] | None:
  """What results say of a row's verified balls; None: its certificates are of votes.

  Returns:
    A dict that JSON can hold: `procedure`, `norm`, `epsilon` and `most` of the balls; for
    each victim, with mean and standard deviation, `accuracy`, the share of the certified
    points that are right in all of the ball of radius epsilon, and `accuracy_of_all`, that
    of all images of the split.
  """
  sidecar = records[0].sidecar
  if provenance.has_votes(sidecar):
    return None
  at_epsilon = np.array([sidecar["epsilon"]])
  values = {
    "accuracy": [
      float(evaluate.certified_accuracy(record, at_epsilon)[0]) for record in records
    ],
    "accuracy_of_all": [
      float(record.sidecar[provenance.VERIFIED_ACCURACY]) for record in records
    ],
  }
  found: dict[str, Any] = {
    name: sidecar[name] for name in ("procedure", "norm", "epsilon", "most")
  }
  for name, of_victims in values.items():
    found |= {
      name: of_victims,
      f"{name}_mean": float(np.mean(of_victims)),
      f"{name}_std": evaluate.std(of_victims),
    }
  return found


def line(row: Mapping[str, Any]) -> dict[str, Any]:
  """What `pacd collect` says of a row's balls, by `COLUMNS`; None where there are votes."""
  if (balls := row.get(FIELD)) is None:
    return dict.fromkeys(COLUMNS)
  names = ("procedure", "norm", "epsilon", "accuracy_mean", "accuracy_of_all_mean")
  return dict(zip(COLUMNS, (balls[name] for name in names), strict=True))


def cells(results: evaluate.Results) -> list[tuple[str, ...]]:
  """A table of verified accuracies, headings first; empty where victims are smoothed."""
  rows = results["rows"]
  if rows[0].get(FIELD) is None:
    return []
  at = f"verified at {rows[0][FIELD]['epsilon']:.4g} %"
  lines: list[tuple[str, ...]] = [("data", at, "of all classes %")]
  for row in rows:
    line = [row["data"]]
    for name in ("accuracy", "accuracy_of_all"):
      mean, std = (100.0 * row[FIELD][f"{name}_{part}"] for part in ("mean", "std"))
      line.append(f"{mean:.1f} ± {std:.1f}" if row["num_seeds"] > 1 else f"{mean:.1f}")
    lines.append(tuple(line))
  return lines


def caption(results: evaluate.Results) -> list[str]:
  """What is certified, and how, as lines of a caption."""
  balls = results["rows"][0][FIELD]
  return [
    f"certified without noise by {balls['procedure']}: radii in {_NORMS[balls['norm']]}, "
    f"looked for up to {balls['most']:.4g}; verified: right in all of the ball of "
    f"{balls['epsilon']:.4g}",
  ]


def largest_radius(results: evaluate.Results) -> float:
  """The largest radius that was looked for, image units."""
  return results["rows"][0][FIELD]["most"]


def norm(results: evaluate.Results) -> str:
  """The norm of the balls: "linf" or "l2"."""
  return results["rows"][0][FIELD]["norm"]


def as_html(results: evaluate.Results) -> dict[str, str]:
  """The values of the names in `how_balls.html` and `terms_balls.html`."""
  balls = results["rows"][0][FIELD]
  sub = "&infin;" if balls["norm"] == "linf" else "2"
  return {
    "procedure": balls["procedure"],
    "norm": f"&#8467;<sub>{sub}</sub>",
    "epsilon": f"{balls['epsilon']:.4g}",
    "most": f"{balls['most']:.4g}",
  }
