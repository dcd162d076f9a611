"""The page of several targets, from their collected results."""

import pathlib
from collections.abc import Mapping, Sequence

from pacd_jax.results import page, target_table


def write(
  folder: pathlib.Path,
  collected: target_table.Targets,
  *,
  origins: Mapping[str, str],
  parts: Sequence[str],
) -> pathlib.Path:
  """Writes `report/index.html`; returns its path.

  Args:
    folder: folder of the suite.
    collected: result of `target_table.collect`.
    origins: origin of each row's images, in words.
    parts: the runs' folders in `folder`.
  """
  path = folder / "report" / "index.html"
  path.parent.mkdir(exist_ok=True)
  words = {
    "title": f"Targets: {page.text(collected['description'])}, attacker's label "
    f"{page.text(collected['target_class'])}",
    "sigma": page.text(collected["sigma"]),
    "epsilon": page.text(collected["epsilon"]),
    "norm": page.text(collected["norm"]),
    "table": page.table(_named(target_table.cells(collected)), "all targets"),
    "targets": page.table(
      target_table.cells_of_targets(collected), "victims that give a target the label"
    ),
    "caption": page.text(" ".join(target_table.caption(collected))),
    "attacks": page.definitions(origins),
    "parts": page.links(parts),
    "section": "",
  }
  page.write(path, "target_body.html", words)
  return path


def _named(lines: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
  """The lines with way and row as one name, as the first cell names a line of the page."""
  return [(f"{training}, {data}", *others) for training, data, *others in lines]
