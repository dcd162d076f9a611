"""The import rules of the package, read from its source: nothing is imported here."""

import ast
import functools
import pathlib

from absl.testing import absltest, parameterized

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_PACKAGE = "pacd_jax"

_SOLVERS = (
  "solvers",
  "solvers.adam_residual",
  "solvers.ekfac",
  "solvers.neumann",
  "solvers.normal_equations",
  "solvers.nystrom",
  "solvers.single_loop",
)
# A layer imports from those above it; what a module is not in, it may not reach.
_LAYERS = (
  {"types", "errors"},
  {
    "smoothing",
    "losses",
    "evasion",
    "noise",
    "linear_solve",
    "perturbation",
    *_SOLVERS,
    "data",
    "sources",
    "tfds_folder",
    "prepare",
    "models",
    "convolution",
    "augment",
    "linear_classifiers",
  },
  {"hypergradient", "penalty", "unrolling", "linear_attack", "influence"},
  {
    "attacks",
    "attacks.baselines",
    "attacks.descent",
    "attacks.error_minimizing",
    "attacks.movement",
    "attacks.objectives",
    "attacks.pacd",
    "attacks.problem",
    "attacks.surrogates",
    "attacks.targeted_adversarial",
  },
  {"experiment"},
)
# Read what stages have written; they run where no accelerator is.
_WITHOUT_JAX = (
  "certificates",
  "collect",
  "comparison_figures",
  "comparison_table",
  "confidence",
  "detectability",
  "estimators",
  "evaluate",
  "figures",
  "least_squares",
  "matrix",
  "method_figures",
  "page",
  "paired",
  "paper.paper_figures",
  "paper.published",
  "provenance",
  "report",
  "row_words",
  "sampling",
  "tables",
  "theory",
  "theory_figures",
)
_EXEMPT = {"types"}  # Its aliases name JAX's arrays.


def _module_name(path):
  """pacd_jax/attacks/pacd.py as "attacks.pacd", and pacd_jax/__init__.py as ""."""
  parts = path.relative_to(_ROOT / _PACKAGE).with_suffix("").parts
  return ".".join(part for part in parts if part != "__init__")


@functools.cache
def _sources():
  """Module name -> its syntax tree."""
  files = sorted((_ROOT / _PACKAGE).rglob("*.py"))
  return {_module_name(path): ast.parse(path.read_text()) for path in files}


def _imported(tree):
  """Dotted names of all that a file imports anywhere; `from a import b` is a.b."""
  names = set()
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names |= {"." * node.level + f"{node.module}.{alias.name}" for alias in node.names}
  return names


def _imports_any(tree, *libraries):
  """Which of these top-level names a file imports from."""
  roots = {name.partition(".")[0] for name in _imported(tree)}
  return roots & set(libraries)


def _neighbours(module, sources):
  """The modules of the package that a module imports, and the packages they are in."""
  found = set()
  for name in _imported(sources[module]):
    package, _, name = name.partition(".")
    if package != _PACKAGE:
      continue
    while name:
      if name in sources:
        found.add(name)
      name = name.rpartition(".")[0]
  return found - {module}


def _reachable(module, sources):
  """All that is imported when a module is."""
  found, waiting = set(), {module}
  while waiting:
    new = _neighbours(waiting.pop(), sources) - found
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


def _collectives(tree):
  """What a file uses of that which knows of devices other than its own."""
  attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
  names = {name.rpartition(".")[2] for name in _imported(tree)}
  return (attributes | names) & set(_COLLECTIVES)


def _forbidden_uses(tree):
  """What no module may do: "pmap", "pickle", "allow_pickle", "print"."""
  found = _imports_any(tree, "pickle")
  if any(name.rpartition(".")[2] == "pmap" for name in _imported(tree)):
    found.add("pmap")
  for node in ast.walk(tree):
    if isinstance(node, ast.Attribute) and node.attr == "pmap":
      found.add("pmap")
    elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
      if ast.unparse(node.value) != "False":
        found.add("allow_pickle")
    elif isinstance(node, ast.Name) and node.id == "print":
      found.add("print")
  return found


class RulesTest(parameterized.TestCase):
  def test_the_package_is_read(self):
    self.assertContainsSubset(set().union(*_LAYERS), _sources())
    self.assertContainsSubset(_WITHOUT_JAX, _sources())

  def test_imports_are_absolute(self):
    """The rules below would not see the others."""
    relative = {
      module: [name for name in _imported(tree) if name.startswith(".")]
      for module, tree in _sources().items()
    }
    self.assertEmpty({module: names for module, names in relative.items() if names})

  def test_there_is_no_cycle(self):
    circular = [m for m in _sources() if m in _reachable(m, _sources())]
    self.assertEmpty(circular)

  @parameterized.parameters(*range(len(_LAYERS)))
  def test_a_layer_imports_from_those_above_it(self, depth):
    below = set().union(*_LAYERS[depth + 1 :])
    for module in _LAYERS[depth]:
      self.assertEmpty(_reachable(module, _sources()) & below, module)

  @parameterized.parameters("noise", "linear_solve", "perturbation")
  def test_the_algorithms_stand_on_the_contracts_alone(self, module):
    self.assertContainsSubset(_reachable(module, _sources()), _LAYERS[0])

  @parameterized.parameters(*_SOLVERS, "penalty", "unrolling")
  def test_solvers_and_peers_of_approx_grad_stand_on_linear_systems(self, module):
    allowed = _LAYERS[0] | {"linear_solve", "solvers"}
    self.assertContainsSubset(_reachable(module, _sources()), allowed)

  def test_smoothing_stands_on_noise(self):
    self.assertContainsSubset(_reachable("smoothing", _sources()), _LAYERS[0] | {"noise"})

  def test_losses_stand_on_algorithms_alone(self):
    algorithms = {"smoothing", "noise", "evasion", "perturbation"}
    self.assertContainsSubset(_reachable("losses", _sources()), _LAYERS[0] | algorithms)

  def test_the_hypergradient_is_given_its_parts(self):
    """Loss, model and solver are arguments: it imports none of them."""
    self.assertContainsSubset(_reachable("hypergradient", _sources()), _LAYERS[0])

  def test_attacks_stand_on_the_layers_above_them(self):
    above = set().union(*_LAYERS[:4])
    for module in _LAYERS[3]:
      self.assertContainsSubset(_reachable(module, _sources()), above, module)

  @parameterized.parameters("train", "certify", "certificates", "evaluate", "report")
  def test_victims_know_nothing_of_attacks(self, module):
    self.assertEmpty(_reachable(module, _sources()) & _LAYERS[3])

  def test_algorithms_are_written_for_one_device(self):
    """Collectives are in few files, and the layers above the experiment know of none."""
    using = {module for module, tree in _sources().items() if _collectives(tree)}
    self.assertEqual(using, {"sharding", "processes", "votes"})
    for module in set().union(*_LAYERS[:4]):
      known = _reachable(module, _sources()) & {"sharding", "processes", "shared_folder"}
      self.assertEmpty(known, module)

  def test_commands_alone_import_the_experiment(self):
    importing = [m for m in _sources() if "experiment" in _neighbours(m, _sources())]
    paper = ["paper.victims", "paper.work"]
    self.assertEqual(importing, ["bench.rules", "compare", *paper])  # As main.py is.

  @parameterized.parameters(
    ("ml_collections", "experiment", "command"),
    ("flax", "models"),
    (
      "matplotlib",
      "figures",
      "comparison_figures",
      "method_figures",
      "paper.paper_figures",
      "theory_figures",
    ),
    ("torch", "bench.peers"),
    ("tensorflow_datasets", "prepare", "tfds_folder"),
    ("array_record", "tfds_folder"),
    ("PIL", "tfds_folder"),
    ("tensorflow",),
  )
  def test_who_sees_a_library(self, library, *modules):
    importing = {m for m, tree in _sources().items() if _imports_any(tree, library)}
    self.assertEqual(importing, set(modules))

  def test_models_alone_see_the_convolutions_that_the_bench_times(self):
    importing = {m for m in _sources() if "convolution" in _neighbours(m, _sources())}
    self.assertEqual(importing, {"models", "bench.plain"})

  def test_configs_and_main_leave_the_rest_to_the_package(self):
    for path in (_ROOT / "main.py", *sorted((_ROOT / "configs").glob("*.py"))):
      tree = ast.parse(path.read_text())
      self.assertEmpty(_imports_any(tree, "flax", "matplotlib", "jax"), path.name)

  @parameterized.parameters(*_WITHOUT_JAX)
  def test_reading_results_needs_no_jax(self, module):
    for name in ({module} | _reachable(module, _sources())) - _EXEMPT:
      libraries = _imports_any(_sources()[name], "jax", "jaxlib", "flax", "optax")
      self.assertEmpty(libraries, f"{name}, from {module}")

  def test_forbidden_uses(self):
    used = {module: _forbidden_uses(tree) for module, tree in _sources().items()}
    self.assertEmpty({module: uses for module, uses in used.items() if uses})


class ReadingTest(parameterized.TestCase):
  """The reading itself, on sources that break the rules."""

  @parameterized.parameters(
    ("import flax.linen as nn", "flax"),
    ("from flax import linen", "flax"),
    ("from flax.linen import Dense", "flax"),
    ("def f():\n  import matplotlib.pyplot", "matplotlib"),
    ("if True:\n  from ml_collections import config_flags", "ml_collections"),
  )
  def test_libraries(self, source, library):
    tree = ast.parse(source)
    self.assertEqual(_imports_any(tree, library, "other"), {library})
    self.assertEmpty(_imports_any(tree, "linen", "pyplot"))

  @parameterized.parameters(
    ("from pacd_jax import losses, types", {"losses", "types"}),
    ("from pacd_jax.types import Array", {"types"}),
    ("import pacd_jax.types", {"types"}),
    ("from pacd_jax.attacks import pacd", {"attacks", "attacks.pacd"}),
    ("def f():\n  from pacd_jax.attacks.pacd import make", {"attacks", "attacks.pacd"}),
    ("import jax\nfrom other.types import Array", set()),
  )
  def test_neighbours(self, source, expected):
    names = ("types", "losses", "attacks", "attacks.pacd")
    sources = dict.fromkeys(names, ast.parse("")) | {"new": ast.parse(source)}
    self.assertEqual(_neighbours("new", sources), expected)

  def test_reachable(self):
    lines = {"a": "b", "b": "c", "c": "a", "d": "a"}
    sources = {m: ast.parse(f"from pacd_jax import {n}") for m, n in lines.items()}
    self.assertEqual(_reachable("d", sources), {"a", "b", "c"})
    self.assertIn("a", _reachable("a", sources))

  @parameterized.parameters(
    ("jax.lax.psum(x, 'devices')", "psum"),
    ("from jax import shard_map", "shard_map"),
    ("from jax.experimental import multihost_utils", "multihost_utils"),
  )
  def test_collectives(self, source, expected):
    self.assertEqual(_collectives(ast.parse(source)), {expected})

  @parameterized.parameters(
    ("jax.pmap(f)", "pmap"),
    ("from jax import pmap", "pmap"),
    ("import pickle", "pickle"),
    ("def f():\n  from pickle import loads", "pickle"),
    ("np.load(path, allow_pickle=True)", "allow_pickle"),
    ("np.load(path, allow_pickle=flag)", "allow_pickle"),
    ("print('done')", "print"),
  )
  def test_forbidden_uses(self, source, expected):
    self.assertEqual(_forbidden_uses(ast.parse(source)), {expected})

  @parameterized.parameters(
    "np.load(path, allow_pickle=False)", "jax.vmap(f)", "'print(x)'  # pickle, pmap"
  )
  def test_allowed_uses(self, source):
    self.assertEmpty(_forbidden_uses(ast.parse(source)))


if __name__ == "__main__":
  absltest.main()
