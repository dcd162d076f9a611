"""The import rules of the package, read from its source: nothing is imported here."""

import ast
import pathlib

from absl.testing import absltest, parameterized
from import_graph import (
  collectives,
  forbidden_uses,
  imported,
  imports_any,
  neighbours,
  reachable,
  sources,
)

_ROOT = pathlib.Path(__file__).resolve().parents[1]

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


class RulesTest(parameterized.TestCase):
  def test_the_package_is_read(self):
    self.assertContainsSubset(set().union(*_LAYERS), sources())
    self.assertContainsSubset(_WITHOUT_JAX, sources())

  def test_imports_are_absolute(self):
    """The rules below would not see the others."""
    relative = {
      module: [name for name in imported(tree) if name.startswith(".")]
      for module, tree in sources().items()
    }
    self.assertEmpty({module: names for module, names in relative.items() if names})

  def test_there_is_no_cycle(self):
    circular = [m for m in sources() if m in reachable(m, sources())]
    self.assertEmpty(circular)

  @parameterized.parameters(*range(len(_LAYERS)))
  def test_a_layer_imports_from_those_above_it(self, depth):
    below = set().union(*_LAYERS[depth + 1 :])
    for module in _LAYERS[depth]:
      self.assertEmpty(reachable(module, sources()) & below, module)

  @parameterized.parameters("noise", "linear_solve", "perturbation")
  def test_the_algorithms_stand_on_the_contracts_alone(self, module):
    self.assertContainsSubset(reachable(module, sources()), _LAYERS[0])

  @parameterized.parameters(*_SOLVERS, "penalty", "unrolling")
  def test_solvers_and_peers_of_approx_grad_stand_on_linear_systems(self, module):
    allowed = _LAYERS[0] | {"linear_solve", "solvers"}
    self.assertContainsSubset(reachable(module, sources()), allowed)

  def test_smoothing_stands_on_noise(self):
    self.assertContainsSubset(reachable("smoothing", sources()), _LAYERS[0] | {"noise"})

  def test_losses_stand_on_algorithms_alone(self):
    algorithms = {"smoothing", "noise", "evasion", "perturbation"}
    self.assertContainsSubset(reachable("losses", sources()), _LAYERS[0] | algorithms)

  def test_the_hypergradient_is_given_its_parts(self):
    """Loss, model and solver are arguments: it imports none of them."""
    self.assertContainsSubset(reachable("hypergradient", sources()), _LAYERS[0])

  def test_attacks_stand_on_the_layers_above_them(self):
    above = set().union(*_LAYERS[:4])
    for module in _LAYERS[3]:
      self.assertContainsSubset(reachable(module, sources()), above, module)

  @parameterized.parameters("train", "certify", "certificates", "evaluate", "report")
  def test_victims_know_nothing_of_attacks(self, module):
    self.assertEmpty(reachable(module, sources()) & _LAYERS[3])

  def test_algorithms_are_written_for_one_device(self):
    """Collectives are in few files, and the layers above the experiment know of none."""
    using = {module for module, tree in sources().items() if collectives(tree)}
    self.assertEqual(using, {"sharding", "processes", "votes"})
    for module in set().union(*_LAYERS[:4]):
      known = reachable(module, sources()) & {
        "sharding",
        "processes",
        "shared_folder",
      }
      self.assertEmpty(known, module)

  def test_commands_alone_import_the_experiment(self):
    importing = [m for m in sources() if "experiment" in neighbours(m, sources())]
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
    importing = {m for m, tree in sources().items() if imports_any(tree, library)}
    self.assertEqual(importing, set(modules))

  def test_models_alone_see_the_convolutions_that_the_bench_times(self):
    importing = {m for m in sources() if "convolution" in neighbours(m, sources())}
    self.assertEqual(importing, {"models", "bench.plain"})

  def test_configs_and_main_leave_the_rest_to_the_package(self):
    for path in (_ROOT / "main.py", *sorted((_ROOT / "configs").glob("*.py"))):
      tree = ast.parse(path.read_text())
      self.assertEmpty(imports_any(tree, "flax", "matplotlib", "jax"), path.name)

  @parameterized.parameters(*_WITHOUT_JAX)
  def test_reading_results_needs_no_jax(self, module):
    for name in ({module} | reachable(module, sources())) - _EXEMPT:
      libraries = imports_any(sources()[name], "jax", "jaxlib", "flax", "optax")
      self.assertEmpty(libraries, f"{name}, from {module}")

  def test_forbidden_uses(self):
    used = {module: forbidden_uses(tree) for module, tree in sources().items()}
    self.assertEmpty({module: uses for module, uses in used.items() if uses})


if __name__ == "__main__":
  absltest.main()
