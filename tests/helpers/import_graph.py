"""What the package's modules import and use, read from their source."""

import ast
import functools
import pathlib

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGE = "pacd_jax"


def _module_name(path):
  """pacd_jax/attacks/pacd.py as "attacks.pacd", and pacd_jax/__init__.py as ""."""
  parts = path.relative_to(_ROOT / _PACKAGE).with_suffix("").parts
  return ".".join(part for part in parts if part != "__init__")


@functools.cache
def sources():
  """Module name -> its syntax tree."""
  files = sorted((_ROOT / _PACKAGE).rglob("*.py"))
  return {_module_name(path): ast.parse(path.read_text()) for path in files}


@functools.cache
def imported(tree):
  """Dotted names of all that a file imports anywhere; `from a import b` is a.b."""
  names = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names |= {"." * node.level + f"{node.module}.{alias.name}" for alias in node.names}
  return names


def imports_any(tree, *libraries):
  """Which of these top-level names a file imports from."""
  roots = {name.partition(".")[0] for name in imported(tree)}
  return roots & set(libraries)


def neighbours(module, trees):
  """The modules of the package that a module imports, and the packages they are in."""
  found = set()
  for name in imported(trees[module]):
    package, _, name = name.partition(".")
    if package != _PACKAGE:
      continue
    while name:
      if name in trees:
        found.add(name)
      name = name.rpartition(".")[0]
  own = {module}  # A module's packages do not import it because it stands in them.
  while module := module.rpartition(".")[0]:
    own.add(module)
  return found - own


def room(module):
  """The folder that a module is in, or the module itself where it is in the root."""
  return module.partition(".")[0]


def rooms():
  """Room -> its modules; the package's own face is none."""
  found = {}
  for module in sources():
    if module:
      found.setdefault(room(module), []).append(module)
  return found


def reachable(module, trees):
  """All that is imported when a module is."""
  found, waiting = set(), {module}
  while waiting:
    new = neighbours(waiting.pop(), trees) - found
    found |= new
    waiting |= new
  return found


_COLLECTIVES = (
  "all_gather",
  "all_to_all",
  "axis_index",
  "multihost_utils",
  "pmean",
  "ppermute",
  "psum",
  "shard_map",
)


def collectives(tree):
  """What a file uses of that which knows of devices other than its own."""
  attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
  names = {name.rpartition(".")[2] for name in imported(tree)}
  return (attributes | names) & set(_COLLECTIVES)


def forbidden_uses(tree):
  """What no module may do: "pmap", "pickle", "allow_pickle", "print", "time.time".

  A clock may be set while a run goes on: durations are of time.monotonic.
  """
  found = imports_any(tree, "pickle")
  if any(name.rpartition(".")[2] == "pmap" for name in imported(tree)):
    found.add("pmap")
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and node.attr == "pmap":
      found.add("pmap")
    elif isinstance(node, ast.Attribute) and ast.unparse(node) == "time.time":
      found.add("time.time")
    elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
      if ast.unparse(node.value) != "False":
        found.add("allow_pickle")
    elif isinstance(node, ast.Name) and node.id == "print":
      found.add("print")
  return found
