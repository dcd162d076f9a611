"""A run's report: its pictures, and one self-contained HTML page.

`write` reads the run's folder alone: config.json, results.json, certificates/, poison/,
metrics.jsonl and selection.json. Most of the page's text is in `report_body.html`.
"""

import html
import json
import os
import pathlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import certificates, confidence, sampling
from pacd_jax.data import defended_file, poison_file
from pacd_jax.results import evaluate, figures, page, tables, transform_figures
from pacd_jax.runtime import metrics, run_folder, stamp

_ATTACK_CURVES = ("step", "upper", "lower")
# Picture -> (caption, alternative text); `{}` is replaced by the row's name.
_WORDS = {
  "overview": (
    "Left: images of the class, the {} images in their place, and the magnified "
    "difference. Right: the share of test points that victims classify correctly with "
    "at least the given radius.",
    "Training images beside {} images, and certified accuracy against radius.",
  ),
  "certified_accuracy": (
    "Certified accuracy: the share of test points that are classified correctly with "
    "at least the given radius. Lines are means over victims, bands one standard "
    "deviation to either side; the area under a line is its ACR.",
    "Certified accuracy against certified l2 radius, one line for each training set.",
  ),
  "top_probability": (
    "Distribution of p_A over test points and victims: the share of a point's noisy "
    "copies that the base classifier assigns to the true class. The lower the line, "
    "the better; a point at or below 1/2 cannot be certified.",
    "Cumulative distribution of p_A, one line for each training set, 1/2 marked.",
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
  "attack": (
    "The attack by outer step: what it minimises on the surrogate (the soft average "
    "certified radius, or minus the cross-entropy of the class for an attack on accuracy), "
    "the surrogate's loss, and how well the hypergradient's linear system was solved. "
    "The first falls at a restart, where a fresh surrogate meets the poison, and rises "
    "again as that surrogate goes on training; what the poison does to victims is in the "
    "table, not here.",
    "Upper loss, lower loss and relative residual against the attack's outer step.",
  ),
}


@figures.own_style()
def write(workdir: str | os.PathLike) -> pathlib.Path:
  """Draws `report/*.png` and writes `report/index.html`, each file atomically.

  Args:
    workdir: a run's folder with config.json, results.json, and the certificates of
      every row of the latter; poisons and metrics are reported if they exist.

  Returns:
    The path of the page.

  Raises:
    InputError: a file is missing or unreadable, or contradicts the certificates.
  """
  workdir = pathlib.Path(workdir)
  config = run_folder.read_json(workdir / "config.json")
  results = run_folder.read_json(workdir / "results.json")
  names = [row["data"] for row in results["rows"]]
  records = {n: evaluate.read_records(workdir / "certificates" / n) for n in names}
  for name, row in zip(names, results["rows"], strict=True):
    summary = evaluate.summarize(name, records[name])
    if any(row.get(field) != value for field, value in summary.items()):
      raise errors.InputError(
        f"{workdir / 'results.json'}: row {name} is not of the certificates beside "
        "it: delete it and rerun --stage=report"
      )
  found = {name: _poison(workdir, name) for name in names}
  poisons = {name: poison for name, poison in found.items() if poison is not None}
  steps = attack_metrics(workdir / "metrics.jsonl")
  folder = workdir / "report"
  folder.mkdir(exist_ok=True)
  pictures = _draw(folder, results, records, poisons, steps)
  path = folder / "index.html"
  words = _words(config, results, pictures)
  has_points = bool(config.get("data", {}).get("target_points"))
  seen = "target points" if has_points else "validation split"
  words["made"] = _made_by(results.get("stamps"))
  words["selection"] = _selection(workdir / "selection.json", seen)
  page.write(path, "report_body.html", words)
  return path


def _made_by(stamps: Sequence[stamp.Stamp] | None) -> str:
  """What made a run, in words, as HTML."""
  words = [stamp.in_words(each) for each in stamps or [None]]
  return html.escape("; resumed by ".join(words))


@figures.own_style()
def gallery(workdir: str | os.PathLike, row: str, *, title: str) -> figures.Figure | None:
  """Draws the poison of a row by `figures.gallery`; None if the row has no poison."""
  poison = _poison(pathlib.Path(workdir), row)
  return None if poison is None else _gallery(poison, title)


def _poison(workdir: pathlib.Path, row: str) -> types.Poison | None:
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


def _draw(
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

  if sampling.RULES[results["rows"][0]["mode"]].has_radius:
    _draw_curves(add, results, records, poisons)
  for name, poison in poisons.items():
    title = f"{name}: epsilon {poison.epsilon:g} ({poison.norm})"
    add(_gallery(poison, title), "gallery", row=name, suffix=f"_{name}")
    if figure := _defended(folder.parent, name, poison):
      add(figure, "defence", row=name, suffix=f"_{name}")
  if attack_metrics:
    add(figures.attack_curves(attack_metrics), "attack")
  return pictures


def _draw_curves(add, results, records, poisons) -> None:
  """Draws the curves of the certificates, and the overview if there are poisons."""
  acrs = {row["data"]: row["acr"] for row in results["rows"]}
  styles = {row["data"]: row["style"] for row in results["rows"]}
  max_radius = _largest_radius(results)
  largest = max(r.radius.max() for of_row in records.values() for r in of_row)
  radii = np.linspace(0.0, 1.02 * max(largest, max_radius or 0.0, 1e-3), 512)
  curves, p_a = {}, {}
  for name, of_row in records.items():
    curves[name] = np.stack([evaluate.certified_accuracy(r, radii) for r in of_row])
    p_a[name] = np.stack([evaluate.top_probability(r) for r in of_row])
  if poisons:
    name = types.PACD if types.PACD in poisons else list(poisons)[-1]
    images = poisons[name].base_images, poisons[name].images
    figure = figures.overview(
      *images, radii, curves, acrs, max_radius=max_radius, styles=styles
    )
    add(figure, "overview", row=name)
  figure = figures.certified_accuracy(
    radii, curves, acrs, max_radius=max_radius, styles=styles
  )
  add(figure, "certified_accuracy")
  add(figures.top_probability(p_a, styles), "top_probability")


def _largest_radius(results: evaluate.Results) -> float | None:
  """The radius of n unanimous votes; None if the rule has another confidence bound."""
  row = results["rows"][0]
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


def _words(
  config: Any, results: evaluate.Results, pictures: Sequence[page.Picture]
) -> dict[str, str]:
  row, further = results["rows"][0], [page.figure(each) for each in pictures[1:]]
  return {
    **{name: page.text(value) for name, value in (row | results).items()},
    "budget": page.text(tables.budget(results)),
    "title": f"Certified robustness of {page.text(results['description'])}, class "
    f"{page.text(results['target_class'])}, after data poisoning",
    "headline": page.text(_headline(results)),
    "at_most": "" if sampling.RULES[row["mode"]].draws_all else "at most ",
    "sampling_note": _sampling_note(results),
    "training_sets": page.definitions(
      {each["data"]: each["words"] for each in results["rows"]}
    ),
    "section": "",
    "table": _table(results),
    "first_picture": "".join(map(page.figure, pictures[:1])),
    "pictures": "\n".join(["<h2>Pictures</h2>", *further]) if further else "",
    "config": page.text(json.dumps(config, indent=2, sort_keys=True)),
  }


def _selection(path: pathlib.Path, seen: str = "validation split") -> str:
  """HTML on the candidate poisons of the attack and their costs; "" without a file.

  `seen` says which points the candidates were judged on.
  """
  if not path.exists():
    return ""
  selection = run_folder.read_json(path)
  lines = [("candidate", "ACR of fresh surrogates", "attack, s", "judging it, s")]
  try:
    for each in selection["candidates"]:
      name = each["name"]
      name += " (chosen)" if name == selection.get("chosen") else ""
      acr = ", ".join(f"{value:.3f}" for value in each["acr"])
      lines.append((name, acr, f"{each['attack_seconds']:.1f}", f"{each['seconds']:.1f}"))
  except (KeyError, TypeError, ValueError):
    raise errors.InputError(f"{path} is damaged: delete it and run again") from None
  return (
    "<h2>How PACD's poison was chosen</h2>\n<p>Candidates by start and outer step, the "
    "corners of the budget that it points to, or a baseline (row); surrogates trained from "
    f"scratch on each were certified on the {seen}.</p>\n"
    f"{page.table(lines, 'Candidates')}\n"
  )


def _sampling_note(results: evaluate.Results) -> str:
  """The page's note on the numbers of samples, the classifier's dtype and the remarks."""
  row = results["rows"][0]
  samples = f"{evaluate.samples_mean(results):,.0f}"
  note = string.Template(sampling.RULES[row["mode"]].note)
  note = note.substitute(n=page.text(row["n"]), samples=samples)
  if row["dtype"] != "float32":
    note += f" The base classifier computed in {page.text(row['dtype'])}."
  if results.get("remarks"):
    note += f" Of this run: {page.text('; '.join(results['remarks']))}."
  return note


def _headline(results: evaluate.Results) -> str:
  """The result in one sentence, for the row with the lowest ACR or ACA."""
  rows = {row["data"]: row for row in results["rows"]}
  mean = "aca_mean" if results["rows"][0]["acr"] is None else "acr_mean"
  name = min(rows, key=lambda name: rows[name][mean])
  if name == types.CLEAN or not (types.CLEAN in rows and rows[types.CLEAN][mean]):
    return tables.caption(results)[0].rstrip(";") + "."
  clean, row = rows[types.CLEAN], rows[name]
  if mean == "acr_mean":
    what = f"average certified radius (ACR) of class {results['target_class']}"
    change = f"{clean[mean]:.3f} to {row[mean]:.3f}"
    change += f", {100 * row[mean] / clean[mean]:.0f} % of it"
  else:
    what = f"share of certified points (ACA) of class {results['target_class']}"
    change = f"{100 * clean[mean]:.1f} % to {100 * row[mean]:.1f} %"
  images = f"the poison {name!r}" if row["is_given"] else f"the {name} images"
  return (
    f"Training on {images} instead of the clean ones takes the {what} from {change}; "
    "the accuracy over all classes goes from "
    f"{100 * clean['accuracy_mean']:.1f} % to {100 * row['accuracy_mean']:.1f} %."
  )


def _table(results: evaluate.Results) -> str:
  """Two HTML tables: the means, and the values of every victim."""
  of_class = f"accuracy % of class {results['target_class']}, no noise"
  victims = [("data", "ACR of each victim", "ACA % of each victim", of_class)]
  for row in results["rows"]:
    acr = ", ".join(f"{value:.3f}" for value in row["acr"] or ()) or "-"
    aca = ", ".join(f"{100 * value:.1f}" for value in row["aca"])
    accuracy = ", ".join(f"{100 * value:.1f}" for value in row["class_accuracy"] or ())
    victims.append((row["data"], acr, aca, accuracy or "-"))
  means = page.table([tables.COLUMNS, *tables.cells(results)], "Means over victims")
  caption = page.text(" ".join(tables.caption(results)))
  return f'{means}\n<p class="note">{caption}</p>\n' + page.table(victims, "Every victim")
