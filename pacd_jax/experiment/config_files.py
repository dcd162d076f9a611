"""Config files: Python programs whose `get_config(variant)` gives a ConfigDict.

They import each other as `configs.base` and the like. The package `configs` is the folder
of the file, whatever the current folder is and whatever else has that name.
"""

import difflib
import importlib
import importlib.util
import os
import pathlib
import runpy
import sys
import types
from collections.abc import Callable
from typing import Any

import ml_collections

from pacd_jax import errors

PACKAGE = "configs"
_IN_WHEEL = pathlib.Path(__file__).resolve().parents[1] / PACKAGE
# The package's own configs: inside of the package in a wheel, beside it in a clone.
FOLDER = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_WHEEL.parents[1] / PACKAGE

SHARED = (
  "aggregations",
  "attacks",
  "authors",
  "base",
  "comparisons",
  "defenses",
  "transfers",
)  # What configs share.


def bind(folder: pathlib.Path) -> None:
  """Makes `import configs.NAME` find the files of this folder from now on."""
  folder = folder.resolve()
  there = sys.modules.get(PACKAGE)
  if there is not None and list(getattr(there, "__path__", ())) == [str(folder)]:
    return
  for name in [n for n in sys.modules if n == PACKAGE or n.startswith(f"{PACKAGE}.")]:
    del sys.modules[name]
  package = types.ModuleType(PACKAGE)
  package.__path__ = [str(folder)]
  sys.modules[PACKAGE] = package


def find_neighbours(path: pathlib.Path) -> None:
  """Lets a config file import from its own folder, whatever the current folder."""
  folder = path.absolute().parent
  if folder.name == PACKAGE:
    bind(folder)
    return
  if str(folder) not in sys.path:
    sys.path.append(str(folder))
  if PACKAGE not in sys.modules and importlib.util.find_spec(PACKAGE) is None:
    bind(FOLDER)


def get_config_in(path: str | os.PathLike[str]) -> Callable[..., Any]:
  """The `get_config` of a config file at any path; does not catch what the file raises."""
  path = pathlib.Path(path).absolute()
  find_neighbours(path)
  return runpy.run_path(str(path))["get_config"]


def names() -> list[str]:
  """The names of the package's own configs, without what several share."""
  found = [each.stem for each in sorted(FOLDER.glob("*.py"))]
  return [each for each in found if each not in SHARED]


def is_name(given: str) -> bool:
  """Whether NAME:VARIANT is one of the package's own configs, and no file."""
  name = given.partition(":")[0]
  return name in names() and not pathlib.Path(name).is_file()


def find(given: str) -> str:
  """FILE:VARIANT for a file, or for the name of one of the package's own configs.

  `find("digits_ga:smoke")` is the file of that name, with its variant.

  Raises:
    errors.InputError: `given` is neither.
  """
  name, colon, variant = given.partition(":")
  path = pathlib.Path(name)
  if not (path.is_file() or path.suffix == ".py"):
    path = FOLDER / f"{name}.py"
    if not is_name(name):
      near = difflib.get_close_matches(name, names()) or names()
      raise errors.InputError(
        f"{name!r} is neither a file nor a config of the package: there are "
        + ", ".join(near)
      )
  return f"{path}{colon}{variant}"


def get_config_of(name: str) -> Callable[..., ml_collections.ConfigDict]:
  """`get_config` of one of the package's own config files, by its name: "digits_ga".

  Raises:
    errors.InputError: there is no such file.
  """
  path = FOLDER / f"{name}.py"
  if not path.is_file():
    near = difflib.get_close_matches(name, names()) or names()
    raise errors.InputError(f"there is no config {name!r}: there are {', '.join(near)}")
  bind(FOLDER)
  return importlib.import_module(f"{PACKAGE}.{name}").get_config
