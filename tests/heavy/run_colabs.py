"""Executes the colabs: `python tests/heavy/run_colabs.py [--write] [NAME ...]`.

Each `colabs/NAME.py` (jupytext's percent format) runs top to bottom in a fresh kernel, and
the first error ends it. With `--write`, the executed notebook becomes `colabs/NAME.ipynb`;
without, one that took over three minutes is an error, too.
"""

import argparse
import pathlib
import sys
import time

import jupytext
import nbclient
import nbformat

COLABS = pathlib.Path(__file__).resolve().parents[2] / "colabs"
NAMES = tuple(sorted(path.stem for path in COLABS.glob("*.py")))
MOST_SECONDS = 180  # Of a notebook, on two cores that have nothing else to do.
_HANGS = 900  # Seconds of one cell.


def without_progress(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
  """The notebook without standard error: progress lines, which differ from run to run.

  Raises:
    RuntimeError: a warning of Python's is among them.
  """
  for cell in notebook.cells:
    for output in cell.get("outputs", ()):
      if output.get("name") == "stderr" and "Warning: " in output.text:
        raise RuntimeError(f"a cell warns: {output.text}")
    if cell.cell_type == "code":
      cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
  return notebook


def execute(name: str) -> nbformat.NotebookNode:
  """The executed notebook; without what differs from run to run but its outputs.

  Raises:
    nbclient.exceptions.CellExecutionError: a cell raised.
    nbclient.exceptions.CellTimeoutError: a cell hangs.
    RuntimeError: a cell warns.
  """
  notebook = jupytext.read(COLABS / f"{name}.py")
  for number, cell in enumerate(notebook.cells):
    cell["id"] = f"cell-{number}"
  client = nbclient.NotebookClient(
    notebook,
    timeout=_HANGS,
    kernel_name="python3",
    record_timing=False,
    resources={"metadata": {"path": str(COLABS)}},
  )
  client.execute()
  notebook.metadata = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
  }
  return without_progress(notebook)


def main(argv: list[str]) -> int:
  """Runs the named ones, or all; returns the exit status."""
  parser = argparse.ArgumentParser(prog="run_colabs.py")
  parser.add_argument("names", nargs="*", metavar="NAME")
  parser.add_argument("--write", action="store_true", help="write colabs/NAME.ipynb")
  options = parser.parse_args(argv)
  late = False
  for name in options.names or NAMES:
    began = time.monotonic()
    notebook = execute(name)
    seconds = time.monotonic() - began
    late |= seconds > MOST_SECONDS and not options.write
    sys.stdout.write(f"{name}: {seconds:.0f} s\n")
    if options.write:
      nbformat.write(notebook, COLABS / f"{name}.ipynb")
  if late:
    sys.stdout.write(f"error: a colab took more than {MOST_SECONDS} seconds\n")
  return int(late)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
