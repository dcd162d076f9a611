"""Sphinx's settings: `make docs` builds docs/_build/html; a warning is an error."""

import pathlib
import re

from docutils import nodes
from latex2mathml import converter

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_TEXT = (_ROOT / "pacd_jax" / "__init__.py").read_text(encoding="utf-8")

project = "pacd_jax"
copyright = "the pacd_jax authors, Apache-2.0"
release = re.search(r'^__version__ = "(.+)"$', _TEXT, re.MULTILINE).group(1)

extensions = [
  "myst_nb",  # Markdown, and the colabs with the outputs that they are stored with.
  "sphinx.ext.autodoc",
  "sphinx.ext.napoleon",
]
exclude_patterns = ["_build", "reproduction/*", "conf.py"]
html_theme = "furo"
html_title = f"pacd_jax {release}"
html_domain_indices = False  # api.html has the modules.

nb_execution_mode = "off"  # `make colabs` executes them; outputs are stored.
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
html_math_renderer = "mathml"  # Browsers' own: the site loads nothing from elsewhere.

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # Docstrings give shapes, ranges and units.
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True


def _to_rst(app, what, name, obj, options, lines):
  """Docstrings as reStructuredText: formulas, which are indented, stand as they are.

  Elsewhere, what the markup would take for its own, such as |x|, is escaped.
  """
  del app, what, name, obj, options
  found, is_formula, before, is_section = [], False, "", False
  for line in lines:
    indent = len(line) - len(line.lstrip())
    text = line.strip()
    if text.startswith(":") or text in ("Args:", "Returns:", "Raises:", "Yields:"):
      is_section = True
    if is_formula and text and indent < 2:
      is_formula = False
    if not is_section and not is_formula and text and indent >= 2 and not before:
      found += ["::", ""]
      is_formula = True
    found.append(line if is_formula else _escaped(line))
    before = text
  lines[:] = found


def _escaped(line):
  parts = re.split(r"(`+[^`]*`+|\*\*?[^* ][^*]*\*\*?|:\w+ [^:]*:)", line)
  for number in range(0, len(parts), 2):
    parts[number] = re.sub(r"([|*])", r"\\\1", parts[number])
    parts[number] = re.sub(r"(?<=\w)_(?=\W|$)", r"\_", parts[number])
  return "".join(parts)


def _formula(translator, node):
  translator.body.append(converter.convert(node.astext()))
  raise nodes.SkipNode


def _formula_block(translator, node):
  formula = converter.convert(node.astext(), display="block")
  translator.body.append(f'<div style="overflow-x: auto">{formula}</div>')
  raise nodes.SkipNode


def setup(app):
  _copy_colabs()
  app.add_html_math_renderer("mathml", (_formula, None), (_formula_block, None))
  app.connect("autodoc-process-docstring", _to_rst, priority=400)


def _copy_colabs() -> None:
  """Colabs are kept beside docs/, where Sphinx does not look."""
  folder = pathlib.Path(__file__).parent / "colabs"
  folder.mkdir(exist_ok=True)
  for path in sorted((_ROOT / "colabs").glob("*.ipynb")):
    text = path.read_text(encoding="utf-8")
    text = text.replace("](../docs/", "](../").replace("](../README.md)", "](../index.md)")
    (folder / path.name).write_text(text, encoding="utf-8")
