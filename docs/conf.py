"""Sphinx's settings: `make docs` builds docs/_build/html; a warning is an error."""

import pathlib
import re
import shutil

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_TEXT = (_ROOT / "pacd_jax" / "__init__.py").read_text(encoding="utf-8")

project = "pacd_jax"
copyright = "the pacd_jax authors, Apache-2.0"
release = re.search(r'^__version__ = "(.+)"$', _TEXT, re.MULTILINE).group(1)

extensions = [
  "myst_nb",  # Markdown, and the colabs with the outputs that they are stored with.
  "sphinx.ext.autodoc",
  "sphinx.ext.autosummary",
  "sphinx.ext.napoleon",
  "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "reproduction/*", "conf.py"]
html_theme = "furo"
html_title = f"pacd_jax {release}"
html_static_path = ["_static"]

nb_execution_mode = "off"  # `make colabs` executes them; outputs are stored.
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4
# Files of the repository that pages point to are not pages.
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # Docstrings give shapes, ranges and units.
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_use_rtype = False
autosummary_generate = True


def _copy_colabs() -> None:
  """Colabs are kept beside docs/, where Sphinx does not look."""
  folder = pathlib.Path(__file__).parent / "colabs"
  folder.mkdir(exist_ok=True)
  for path in sorted((_ROOT / "colabs").glob("*.ipynb")):
    shutil.copy(path, folder)


_copy_colabs()
