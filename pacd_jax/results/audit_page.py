"""The page, the pictures and the table of an audit of a training set."""

import pathlib
from collections.abc import Mapping
from typing import Any

from pacd_jax import types
from pacd_jax.results import audit_figures, figures, page, tables

_NUM_PATTERNS, _NUM_IMAGES = 6, 24
_NUM_LINES = 10  # Of the images in the text table.


@figures.own_style()
def write(
  folder: pathlib.Path,
  about: Mapping[str, Any],
  data: types.Dataset,
  trusted: types.Dataset | None,
  found: Any,
) -> pathlib.Path:
  """Writes `index.html` and its pictures; returns the page's path.

  Args:
    folder: an existing folder.
    about: the contents of `audit.json`.
    data: the images that were audited.
    trusted: the trusted ones, or None.
    found: the `defenses.audit.Findings`.
  """
  path = folder / "index.html"
  lines = cells(about)
  words = {
    "title": "Audit of a training set",
    "verdict": page.text(verdict(about)),
    "table": page.table(lines, "Classes, the most suspicious first"),
    "trusted": page.text(
      "no trusted images were given"
      if trusted is None
      else f"{len(trusted.labels):,} trusted images, {about['num_copies']} of them copies "
      "of audited ones, which were left out"
    ),
    "patterns": _patterns(folder, about, data, trusted, found),
    "images": page.figure(_suspicious(folder, about, data)),
    "listed": page.table(image_cells(about), "The most suspicious images"),
    "failed": page.text(_failed(about)),
    "section": "",
  }
  page.write(path, "audit_body.html", words)
  return path


def verdict(about: Mapping[str, Any]) -> str:
  """What the tests say, in a sentence."""
  tested = [each for each in about["classes"] if each["p_value"] is not None]
  if not tested:
    return (
      "Without trusted images no change that a whole class shares can be found: give some "
      "by --trusted. The figures below are of single images that do not fit."
    )
  alarms = [each for each in tested if each["p_value"] <= about["level"]]
  if not alarms:
    return (
      f"No class differs from its trusted images at level {about['level']:g}, corrected "
      "for the number of classes."
    )
  said = ", ".join(f"{each['name']} (p = {each['p_value']:.2g})" for each in alarms)
  repaired = sum(each["images_repaired"] for each in alarms)
  text = (
    f"{len(alarms)} of {len(tested)} classes differ from their trusted images at level "
    f"{about['level']:g}, corrected for the number of classes: {said}."
  )
  if about["out"]:
    text += (
      f" Their shared change was taken off {repaired:,} images: {about['out']} has the "
      "repaired set, in which all others are as they were."
    )
  return text


def cells(about: Mapping[str, Any]) -> list[tuple[str, ...]]:
  """The table's lines, headings first."""
  detectors = list(about["classes"][0]["top_share"])
  lines: list[tuple[str, ...]] = [
    ("class", "images", "p", "p, means", "p, classifier", "largest shift", *detectors)
  ]
  for each in about["classes"]:
    p_values = [each.get(n) for n in ("p_value", "p_mean_shift", "p_classifier")]
    shift = each["largest_shift"]
    lines.append(
      (
        each["name"],
        f"{each['num_images']:,}",
        *("-" if p is None else f"{p:.2g}" for p in p_values),
        "-" if shift is None else f"{shift:.3f}",
        *(f"{100 * each['top_share'][name]:.1f}" for name in detectors),
      )
    )
  return lines


def image_cells(about: Mapping[str, Any]) -> list[tuple[str, ...]]:
  """A table of the most suspicious images, by file or position, headings first."""
  most = about["most_suspicious"]
  heading = ("image" if any(each["file"] for each in most) else "position", "class")
  lines: list[tuple[str, ...]] = [(*heading, "mean rank")]
  lines += [(_name(each), each["class"], f"{each['suspicion']:.3f}") for each in most]
  return lines


def _name(image: Mapping[str, Any]) -> str:
  """The file of an image, or its position."""
  return image["file"] or str(image["position"])


def table(about: Mapping[str, Any]) -> str:
  """What the tests say, and the tables as plain text."""
  lines = tables.aligned([line[:6] for line in cells(about)])
  images = tables.aligned(image_cells(about)[: 1 + _NUM_LINES])
  return "\n".join([lines, "", images, "", *tables.wrapped([verdict(about)])])


def _patterns(folder, about, data, trusted, found) -> str:
  """What classes have more than their trusted images, as pictures."""
  shown = [each for each in found.classes if each.shift is not None and each.shift.any()]
  if trusted is None or not shown:
    return "<p>None.</p>"
  names = {each["label"]: each["name"] for each in about["classes"]}
  panels = {}
  for finding in shown[:_NUM_PATTERNS]:
    means = [
      each.images[each.labels == finding.label].mean(axis=0) / 255
      for each in (data, trusted)
    ]
    panels[names[finding.label]] = (*means, finding.shift)
  path = folder / "patterns.png"
  figures.save(audit_figures.patterns(panels), path)
  return page.figure(
    page.Picture(
      path,
      "Mean of the class, mean of its trusted images, and the estimate of the change that "
      "the class shares, magnified.",
      "Means and estimated changes of the most suspicious classes.",
    )
  )


def _failed(about: Mapping[str, Any]) -> str:
  said = "; ".join(f"{name}: {why}" for name, why in about["failed"].items())
  return f"Detectors that these data do not suit: {said}." if said else ""


def _suspicious(folder, about, data) -> page.Picture:
  shown = about["most_suspicious"][:_NUM_IMAGES]
  order = [each["position"] for each in shown]
  titles = [each["file"] or f"{each['position']}: {each['class']}" for each in shown]
  path = folder / "images.png"
  figures.save(audit_figures.images(data.images[order], titles), path)
  return page.Picture(
    path,
    "The images with the highest mean rank over all detectors, each with its file, or its "
    "position and its label.",
    "The most suspicious images.",
  )
