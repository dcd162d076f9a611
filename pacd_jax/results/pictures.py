"""The pictures of a run's report, from its folder alone."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import certificates, confidence, provenance
from pacd_jax.data import defended_file, npz_arrays, poison_file
from pacd_jax.results import (
  ensembles,
  evaluate,
  figures,
  page,
  poisoning_figures,
  transform_figures,
  verified,
)
from pacd_jax.runtime import metrics, run_folder

_ATTACK_CURVES = ("step", "upper", "lower")
# Picture -> (caption, alternative text); `{}` is replaced by the row's name.
_WORDS = {
  "overview": (
    "Left: training images, the {} images in their place, and the magnified "
    "difference. Right: the share of test points that victims classify correctly with "
    "at least the given radius.",
    "Training images beside {} images, and certified accuracy against radius.",
  ),
  "certified_accuracy": (
    "Certified accuracy: the share of test points that are classified correctly with "
    "at least the given radius. Lines are means over victims, bands one standard "
    "deviation to either side; the area under a line is its ACR.",
    "Certified accuracy against certified radius, one line for each training set.",
  ),
  "top_probability": (
    "Distribution of p_A over test points and victims: the share of a point's noisy "
    "copies that the base classifier assigns to the true class. The lower the line, "
    "the better; a point at or below 1/2 cannot be certified.",
    "Cumulative distribution of p_A, one line for each training set, 1/2 marked.",
  ),
  "against_poison": (
    "Certified accuracy against poisoning, over all classes: the share of test points that "
    "every ensemble classifies correctly, whichever so many training images are changed "
    "({}).",
    "Certified accuracy against the change of the training set, a line for each row.",
  ),
  "acr_by_poisoned_images": (
    "ACR of the target class that holds at test time whichever so many training images are "
    "changed, too ({}). At 0 it is the ordinary ACR.",
    "ACR against the number of changed training images, a line for each training set.",
  ),
  "gallery": (
    "Images of the class, evenly spaced; what the {} training set holds in their "
    "place; and the difference, magnified by the stated factor.",
    "Three rows of images: originals, {} images, magnified differences.",
  ),
  "defence": (
    "Images of the {} training set: as they were, poisoned, and as the run's defences left "
    "them to its victims.",
    "Rows of images: originals, {} images, and these after the defences.",
  ),
  "triggered": (
    "Test images, and the same with the trigger of {}, as victims are asked about them.",
    "Two rows of images: test images, and the same with the trigger of {}.",
  ),
  "attack": (
    "The attack by outer step: what it minimises on the surrogate (attack.objective, such "
    "as the soft average certified radius), the surrogate's loss, and how well the "
    "hypergradient's linear system was solved. "
    "The first falls at a restart, where a fresh surrogate meets the poison, and rises "
    "again as that surrogate goes on training; what the poison does to victims is in the "
    "table, not here.",
    "Upper loss, lower loss and relative residual against the attack's outer step.",
  ),
}


@figures.own_style()
def gallery(workdir: str | os.PathLike, row: str, *, title: str) -> figures.Figure | None:
  """Draws the poison of a row by `figures.gallery`; None if the row has no poison."""
  poison = poison_of(pathlib.Path(workdir), row)
  return None if poison is None else _gallery(poison, title)


def poison_of(workdir: pathlib.Path, row: str) -> types.Poison | None:
  """The poison of a row, from its file; None if the row has none."""
  path = workdir / "poison" / f"{row}.npz"
  return poison_file.load(path) if path.exists() else None


def _gallery(poison: types.Poison, title: str) -> figures.Figure:
  return figures.gallery(poison.base_images, poison.images, title=title)


def _defended(
  workdir: pathlib.Path, row: str, poison: types.Poison
) -> figures.Figure | None:
  """Poisoned images as the chain of defences left them; None if it changed none."""
  path = workdir / "defense" / f"{row}.npz"
  if not path.exists():
    return None
  positions, images = defended_file.changed_images(path)
  _, of_poison, of_changed = np.intersect1d(
    np.where(poison.inserted, -1, poison.indices), positions, return_indices=True
  )
  if not len(of_poison):
    return None
  done = run_folder.read_json(path.with_suffix(".json")).get("defences", [])
  names = ",\nthen ".join(each["name"] for each in done if each["changed"])
  return transform_figures.changes(
    {
      "original": poison.base_images[of_poison],
      "poison": poison.images[of_poison],
      f"after {names}": images[of_changed],
    },
    title=f"{row}: what the defences left",
  )


def _triggered(folder: pathlib.Path, row: str) -> figures.Figure | None:
  """Test images before and after a row's trigger; None where there are none."""
  path = folder / f"goal_{row}.npz"
  if not path.exists():
    return None
  try:
    found = npz_arrays.read(path, ("before", "after"))
    pictures = {"test image": found["before"], "with the trigger": found["after"]}
  except (npz_arrays.DamagedError, KeyError) as error:
    raise errors.InputError(
      f"{path} is damaged ({error}): delete it and rerun --stage=report"
    ) from None
  return transform_figures.changes(pictures, title=f"{row}: what victims are asked about")


def draw(
  folder: pathlib.Path,
  results: evaluate.Results,
  records: Mapping[str, Sequence[certificates.Record]],
  poisons: Mapping[str, types.Poison],
  attack_metrics: Mapping[str, np.ndarray],
) -> list[page.Picture]:
  """Draws every picture that the files allow, the most important first.

  There are no pictures of radii and probabilities if the sampling was for ACA alone.
  """
  pictures = []

  def add(figure: Any, words: str, *, row: str = "", suffix: str = "") -> None:
    path = folder / f"{words}{suffix}.png"
    figures.save(figure, path)
    pictures.append(page.Picture(path, *(text.format(row) for text in _WORDS[words])))

  if provenance.has_radius(results["rows"][0]):
    _draw_curves(add, results, records, poisons)
    _draw_ensembles(add, folder.parent, results)
  for name, poison in poisons.items():
    title = f"{name}: epsilon {poison.epsilon:g} ({poison.norm})"
    add(_gallery(poison, title), "gallery", row=name, suffix=f"_{name}")
    if figure := _defended(folder.parent, name, poison):
      add(figure, "defence", row=name, suffix=f"_{name}")
    if figure := _triggered(folder, name):
      add(figure, "triggered", row=name, suffix=f"_{name}")
  if attack_metrics:
    add(figures.attack_curves(attack_metrics), "attack")
  return pictures


def _draw_curves(add, results, records, poisons) -> None:
  """Draws the curves of the certificates, and the overview if there are poisons."""
  acrs = {row["data"]: row["acr"] for row in results["rows"]}
  styles = {row["data"]: row["style"] for row in results["rows"]}
  max_radius, has_votes = _largest_radius(results), results["rows"][0]["mode"] is not None
  norm = "l2" if has_votes else verified.norm(results)
  most = "largest possible" if has_votes else "largest looked for"
  shown: dict[str, Any] = {"styles": styles, "norm": norm}
  shown |= {"max_radius": max_radius, "max_words": most}
  largest = max(r.radius.max() for of_row in records.values() for r in of_row)
  radii = np.linspace(0.0, 1.02 * max(largest, max_radius or 0.0, 1e-3), 512)
  curves, p_a = {}, {}
  for name, of_row in records.items():
    curves[name] = np.stack([evaluate.certified_accuracy(r, radii) for r in of_row])
    if has_votes:
      p_a[name] = np.stack([evaluate.top_probability(r) for r in of_row])
  if poisons:
    name = types.PACD if types.PACD in poisons else list(poisons)[-1]
    images = poisons[name].base_images, poisons[name].images
    figure = figures.overview(*images, radii, curves, acrs, **shown)
    add(figure, "overview", row=name)
  figure = figures.certified_accuracy(radii, curves, acrs, **shown)
  add(figure, "certified_accuracy")
  if has_votes:
    add(figures.top_probability(p_a, styles), "top_probability")


def _draw_ensembles(add, workdir: pathlib.Path, results) -> None:
  """Draws what ensembles certify against poisoning, and at test time under it."""
  rows = results["rows"]
  if (first := rows[0].get(ensembles.FIELD)) is None:
    return
  styles = {row["data"]: row["style"] for row in rows}
  folders = {row["data"]: workdir / "certificates" / row["data"] for row in rows}
  sizes, shares = ensembles.curves(folders)
  figure = poisoning_figures.against_poison(sizes, shares, first["unit"], styles)
  add(figure, "against_poison", row=first["unit"])
  if first["levels"]:
    numbers, acrs = ensembles.acr_by_level(rows)
    figure = poisoning_figures.acr_by_level(numbers, acrs, first["unit"], styles)
    add(figure, "acr_by_poisoned_images", row=first["unit"])


def _largest_radius(results: evaluate.Results) -> float | None:
  """The radius of n unanimous votes; None if the rule has another confidence bound.

  Of a deterministic procedure it is the largest that was looked for.
  """
  row = results["rows"][0]
  if row["mode"] is None:
    return verified.largest_radius(results)
  if row["bound"] != confidence.BOUND:
    return None
  return confidence.largest_radius(results["sigma"], row["n"], row["alpha"]) or None


def attack_metrics(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads the attack's steps of a `metrics.jsonl` as columns `[T]`; {} if there are none.

  A resumed run may log a step twice: the last line counts. Damaged lines are skipped.
  """
  by_step = {}
  for _, record in metrics.read(path):
    curves = [record.get(name) for name in _ATTACK_CURVES]
    curves.append(record.get("relative_residual", np.nan))
    if record["stage"] == "attack" and all(type(each) in (int, float) for each in curves):
      by_step[record["step"]] = record
  if not by_step:
    return {}
  steps = [by_step[step] for step in sorted(by_step)]
  columns = {name: np.array([step[name] for step in steps]) for name in _ATTACK_CURVES}
  residual = [step.get("relative_residual", np.nan) for step in steps]
  columns["relative_residual"] = np.array(residual)  # NaN for unrolling: no linear solve.
  for name in ("negative_curvature", "restart"):
    columns[name] = np.array([step.get(name, False) for step in steps], bool)
  return columns
