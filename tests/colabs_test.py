"""The saved colabs are their sources, executed: `make test-colabs` runs them anew."""

import ast
import pathlib

import jupytext
import nbformat
from absl.testing import absltest, parameterized

_COLABS = pathlib.Path(__file__).resolve().parents[1] / "colabs"
_NAMES = (
  "attack_in_ten_minutes",
  "certified_against_poison",
  "certify_by_every_procedure",
  "certify_your_model",
  "hypergradients",
  "linear_case",
  "memorisation",
)
_BRINGS_A_MODEL = "certify_your_model"  # The one that defines something: a classifier.
_REMEDY = "run `make colabs`"


def _source(name):
  return jupytext.read(_COLABS / f"{name}.py").cells


def _saved(name):
  return nbformat.read(_COLABS / f"{name}.ipynb", as_version=4)


def _code(cells):
  return [cell for cell in cells if cell.cell_type == "code"]


def _tree(cell):
  lines = cell.source.splitlines()
  return ast.parse("\n".join(line for line in lines if not line.startswith("%")))


class ColabsTest(parameterized.TestCase):
  def test_every_source_has_its_notebook(self):
    for suffix in ("py", "ipynb"):
      found = sorted(path.stem for path in _COLABS.glob(f"*.{suffix}"))
      self.assertEqual(found, list(_NAMES), _REMEDY)

  @parameterized.parameters(*_NAMES)
  def test_the_notebook_is_of_the_source(self, name):
    saved, source = _saved(name), _source(name)
    nbformat.validate(saved)
    pairs = [
      [(cell.cell_type, cell.source, cell.metadata) for cell in cells]
      for cells in (saved.cells, source)
    ]
    self.assertEqual(*pairs, _REMEDY)

  @parameterized.parameters(*_NAMES)
  def test_it_ran_from_top_to_bottom_without_an_error(self, name):
    cells = _code(_saved(name).cells)
    order = [cell.execution_count for cell in cells]
    self.assertEqual(order, list(range(1, len(cells) + 1)), _REMEDY)
    outputs = [output for cell in cells for output in cell.outputs]
    self.assertNotIn("error", {output.output_type for output in outputs})
    self.assertNotIn("stderr", {output.get("name") for output in outputs})
    drawing = [cell for cell in cells if "image/png" in str(cell.outputs)]
    self.assertNotEmpty(drawing)
    words = [cell.metadata["mystnb"]["image"]["alt"] for cell in drawing]
    self.assertLen(set(words), len(words))  # For those who cannot see the pictures.

  @parameterized.parameters(*_NAMES)
  def test_one_cell_installs_and_none_defines_an_algorithm(self, name):
    cells = _code(_source(name))
    installs = ["pip" in cell.source for cell in cells]
    self.assertEqual(installs, [True] + [False] * (len(cells) - 1))
    kinds = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.While)
    nodes = [node for cell in cells for node in ast.walk(_tree(cell))]
    found = [node for node in nodes if isinstance(node, kinds)]
    if name == _BRINGS_A_MODEL:
      names = {node.name for node in found if isinstance(node, kinds[:2])}
      expected = {"Net", "__call__", "nearest_mean", "forest_logits", "predict"}
      self.assertEqual(names, expected)
    else:
      self.assertEmpty([ast.unparse(node) for node in found])

  def test_all_install_by_the_same_cell(self):
    """Each is opened alone, so each has it; they may not drift apart."""
    self.assertLen({_code(_source(name))[0].source for name in _NAMES}, 1)

  def test_the_readme_links_each(self):
    readme = (_COLABS.parent / "README.md").read_text()
    for name in _NAMES:
      self.assertIn(f"(colabs/{name}.ipynb)", readme)


if __name__ == "__main__":
  absltest.main()
