"""A run's report: its pictures, and one self-contained HTML page.

`write` reads the run's folder alone: config.json, results.json, certificates/, poison/,
metrics.jsonl and selection.json. Most of the page's text is in `report_body.html`.
"""

import html
import json
import os
import pathlib
import string
from collections.abc import Sequence
from typing import Any

from pacd_jax import errors, types
from pacd_jax.certification import sampling, soundness
from pacd_jax.results import (
  ensembles,
  evaluate,
  figures,
  goals,
  page,
  pictures,
  tables,
  verified,
)
from pacd_jax.runtime import run_folder, stamp


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
  found = {name: pictures.poison_of(workdir, name) for name in names}
  poisons = {name: poison for name, poison in found.items() if poison is not None}
  steps = pictures.attack_metrics(workdir / "metrics.jsonl")
  folder = workdir / "report"
  folder.mkdir(exist_ok=True)
  drawn = pictures.draw(folder, results, records, poisons, steps)
  path = folder / "index.html"
  words = _words(config, results, drawn)
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


def _words(
  config: Any, results: evaluate.Results, drawn: Sequence[page.Picture]
) -> dict[str, str]:
  row, further = results["rows"][0], [page.figure(each) for each in drawn[1:]]
  given = {name: page.text(value) for name, value in (row | results).items()}
  return {
    **given,
    **_certified(results, given),
    "budget": page.text(tables.budget(results)),
    "title": f"Certified robustness of {page.text(results['description'])}, class "
    f"{page.text(results['target_class'])}, after data poisoning",
    "headline": page.text(_headline(results)),
    "training_sets": page.definitions(
      {each["data"]: each["words"] for each in results["rows"]}
    ),
    "section": "",
    "table": _table(results),
    "first_picture": "".join(map(page.figure, drawn[:1])),
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


def _certified(results: evaluate.Results, words: dict[str, str]) -> dict[str, str]:
  """How victims were certified, and what its terms mean, as HTML."""
  row = results["rows"][0]
  words = words | {"sampling_note": _sampling_note(results)}
  kind = "balls" if row["mode"] is None else "smoothing"
  if row["mode"] is None:
    words |= verified.as_html(results)
  else:
    words["at_most"] = "" if sampling.RULES[row["mode"]].draws_all else "at most "
  return {
    "certified_how": page.filled(f"how_{kind}.html", words),
    "certified_terms": page.filled(f"terms_{kind}.html", words),
  }


def _sampling_note(results: evaluate.Results) -> str:
  """The page's note on the numbers of samples, the classifier's dtype and the remarks."""
  row, note = results["rows"][0], ""
  if row["mode"] is not None:
    samples = f"{evaluate.samples_mean(results):,.0f}"
    template = string.Template(sampling.RULES[row["mode"]].note)
    note = template.substitute(n=page.text(row["n"]), samples=samples)
  if row["dtype"] != "float32":
    note += f" The base classifier computed in {page.text(row['dtype'])}."
  if str(row["bound"]).endswith(soundness.SUFFIX):
    note += (
      " Noise is on a grid on which 8-bit images plus noise are exact in float32, and the "
      "certificates hold for the classifier as it computes (docs/sound.md)."
    )
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
  """HTML tables: the means, the values of every victim, and what ensembles have beside."""
  of_class = f"accuracy % of class {results['target_class']}, no noise"
  victims = [("data", "ACR of each victim", "ACA % of each victim", of_class)]
  for row in results["rows"]:
    acr = ", ".join(f"{value:.3f}" for value in row["acr"] or ()) or "-"
    aca = ", ".join(f"{100 * value:.1f}" for value in row["aca"])
    accuracy = ", ".join(f"{100 * value:.1f}" for value in row["class_accuracy"] or ())
    victims.append((row["data"], acr, aca, accuracy or "-"))
  means = page.table([tables.COLUMNS, *tables.cells(results)], "Means over victims")
  caption = page.text(" ".join(tables.caption(results)))
  further = [page.table(victims, "Every victim")]
  if lines := verified.cells(results):
    further.append(page.table(lines, "Verified in a ball"))
  if lines := ensembles.cells(results):
    further.append(page.table(lines, "With poisoned images"))
  if lines := goals.cells(results):
    further.append(page.table(lines, "Test images that attackers want"))
  return "\n".join([means, f'<p class="note">{caption}</p>', *further])
