"""The import rules between rooms, read from the package's source."""

import ast
import pathlib
import re
import subprocess
import sys

from absl.testing import absltest, parameterized
from import_graph import (
  collectives,
  forbidden_uses,
  imported,
  imports_any,
  neighbours,
  reachable,
  room,
  rooms,
  sources,
)

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_CONTRACTS = {"types", "errors"}  # Everybody's.
# Room -> those that it may import from. A file in the package's root is a room of its own.
_MAY_IMPORT = {
  "errors": set(),
  "types": set(),
  "registry": set(),
  "noise": set(),
  "perturbation": set(),
  "smoothing": {"noise"},
  "evasion": {"perturbation", "smoothing"},
  "losses": {"evasion", "noise", "smoothing"},
  "bounds": set(),
  "models": {"bounds", "noise"},
  "manifolds": {"data", "evasion", "losses", "models"},
  "bilevel": set(),
  "runtime": set(),
  "data": {"runtime"},
  "linear_case": {"bilevel", "perturbation"},
  "train": {"data", "models", "noise", "runtime"},
  "attacks": {"bounds", "data", "evasion", "noise", "perturbation", "smoothing"},
  "defenses": {"certification", "data", "models"},
  "certification": {
    *("data", "evasion", "losses", "models", "noise", "registry", "runtime"),
  },
  "results": {"certification", "data", "runtime"},
  "experiment": {
    *("registry", "noise", "perturbation", "evasion", "losses", "models", "bilevel"),
    *("runtime", "data", "train", "attacks", "defenses", "certification", "results"),
    *("linear_case", "bounds", "manifolds"),
  },
  "suites": {"certification", "data", "experiment", "results", "runtime"},
  "paper": {"certification", "data", "evasion", "experiment", "results", "runtime"}
  | {"suites"},
}
# In the package's root these are commands and its face: they import as they need.
_FACES = {"__main__", "bench"}
_ALGORITHMS = (
  *("noise", "perturbation", "smoothing", "evasion", "losses", "models"),
  *("bilevel", "attacks", "linear_case", "bounds", "manifolds"),
)


class RoomsTest(parameterized.TestCase):
  def test_every_room_has_its_rule(self):
    self.assertEqual(rooms().keys() - _FACES, _MAY_IMPORT.keys())

  @parameterized.parameters(*_MAY_IMPORT)
  def test_a_room_imports_from_those_that_it_may(self, name):
    found = {room(n) for m in rooms()[name] for n in neighbours(m, sources())}
    self.assertContainsSubset(found - {name}, _MAY_IMPORT[name] | _CONTRACTS)

  def test_rooms_import_one_way(self):
    """No room is reached from itself: there is an order in which to read them."""

    def reached(name, seen):
      for other in _MAY_IMPORT[name] - seen:
        seen.add(other)
        reached(other, seen)
      return seen

    circular = [name for name in _MAY_IMPORT if name in reached(name, set())]
    self.assertEmpty(circular)

  def test_the_root_holds_the_papers_own_words_alone(self):
    files = sorted((_ROOT / "pacd_jax").glob("*.py"))
    self.assertLessEqual(len(files), 10, [path.name for path in files])


class RulesTest(parameterized.TestCase):
  def test_imports_are_absolute(self):
    """The rules would not see the others."""
    relative = {
      module: [name for name in imported(tree) if name.startswith(".")]
      for module, tree in sources().items()
    }
    self.assertEmpty({module: names for module, names in relative.items() if names})

  def test_function_contracts_that_cross_rooms_stand_in_types(self):
    crossing = []
    texts = {module: ast.unparse(tree) for module, tree in sources().items()}
    for module, tree in sources().items():
      for node in tree.body:
        if not (isinstance(node, ast.Assign) and "Callable[" in ast.unparse(node.value)):
          continue
        name = ast.unparse(node.targets[0])
        crossing += [
          f"{name} of {module} in {other}"
          for other, text in texts.items()
          if room(other) != room(module) and re.search(rf"\b{name}\b", text)
        ]
    self.assertEmpty(crossing)

  def test_few_modules_handle_poisons(self):
    """Whoever else wants what is in one asks `experiment.row_data`."""
    handle = {
      module
      for module, tree in sources().items()
      if re.search(r"\b(Poison|poison_file)\b", ast.unparse(tree))
    }
    self.assertEqual(
      handle,
      {
        "types",
        "data.poison_file",
        "data.training_sets",
        "experiment.row_data",
        "experiment.library",
        "results.detectability",
        "results.pictures",
        # Not of a run: a poison as PNGs, for people, and of other programs.
        "data.png_folder",
        "data.plain_npz",
        "experiment.poison_command",
      },
    )

  def test_public_functions_assert_the_ranks_of_images_and_logits(self):
    """A missing axis would broadcast: [H, W, C] as a batch, or labels [B, 1]."""
    rooms = ("noise", "perturbation", "smoothing", "losses", "evasion", "models", "attacks")
    rooms += ("bounds",)
    given = {"images", "base_images", "logits", "probs", "delta", "gradient"}
    lacking = []
    for module, tree in sources().items():
      if room(module) not in (*rooms, "certification"):
        continue
      for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.name.startswith("_"):
          continue
        names = [argument.arg for argument in function.args.args]
        of_a_step = names[:1] == ["settings"]  # Not called from outside of the attack.
        asserts = of_a_step or "chex.assert_rank" in ast.unparse(function)
        if given.intersection(names) and not asserts:
          lacking.append(f"{module}.{function.name}")
    # These say it in one line of an InputError, as a user's own images come to them.
    own = {
      "certification.certify.certify",
      "certification.certify.certify_to_files",
      "certification.soundness.check_images",
    }
    self.assertEqual(set(lacking), own)

  def test_random_numbers_name_their_type(self):
    """Under a user's JAX_ENABLE_X64 others would be float64, and meet float32 images."""
    draws = ("uniform", "normal", "beta", "truncated_normal", "exponential", "laplace")
    untyped = []
    for module, tree in sources().items():
      if room(module) in ("bench", "linear_case"):
        continue
      for node in ast.walk(tree):
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if name in [f"jax.random.{draw}" for draw in draws]:
          typed = re.search(r"\b(dtype|float32)\b", ast.unparse(node))
          untyped += [] if typed else [f"{module}:{node.lineno}"]
    self.assertEmpty(untyped)

  def test_there_is_no_cycle(self):
    circular = [m for m in sources() if m in reachable(m, sources())]
    self.assertEmpty(circular)

  @parameterized.parameters("bilevel.penalty", "bilevel.unrolling")
  def test_peers_of_approx_grad_stand_on_linear_systems(self, module):
    allowed = _CONTRACTS | {"bilevel", "bilevel.linear_solve"}
    self.assertContainsSubset(reachable(module, sources()), allowed)

  def test_solvers_stand_on_linear_systems(self):
    allowed = {*_CONTRACTS, "bilevel", "bilevel.linear_solve", "bilevel.solvers"}
    for module in rooms()["bilevel"]:
      if module.startswith("bilevel.solvers."):
        self.assertContainsSubset(reachable(module, sources()), allowed, module)

  def test_the_hypergradient_is_given_its_parts(self):
    """Loss, model and solver are arguments: it imports none of them."""
    found = reachable("bilevel.hypergradient", sources())
    self.assertContainsSubset(found, _CONTRACTS | {"bilevel"})

  @parameterized.parameters("train", "certification", "defenses", "results")
  def test_victims_know_nothing_of_attacks(self, name):
    for module in rooms()[name]:
      found = {room(other) for other in reachable(module, sources())}
      self.assertNoCommonElements(found, {"attacks", "experiment"}, module)

  def test_algorithms_are_written_for_one_device(self):
    """Collectives are in few files, and the algorithms' rooms know of none."""
    using = {module for module, tree in sources().items() if collectives(tree)}
    self.assertEqual(
      using, {"runtime.sharding", "runtime.processes", "certification.votes"}
    )
    for name in _ALGORITHMS:
      for module in rooms()[name]:
        known = reachable(module, sources())
        self.assertNotIn("runtime", {room(other) for other in known}, module)

  def test_commands_and_suites_alone_pass_the_door(self):
    using = {m for m in sources() if "experiment.door" in neighbours(m, sources())}
    self.assertContainsSubset({room(module) for module in using}, _BEFORE_THE_DOOR)

  @parameterized.parameters(
    (
      "ml_collections",
      "experiment.door",
      "experiment.command_line",
      "experiment.config_files",
    ),
    ("flax", "models.networks", "models.modules", "models.denoiser", "models.autoencoder"),
    (
      "matplotlib",
      "results.figures",
      "results.audit_figures",
      "results.attack_figures",
      "results.comparison_figures",
      "results.defense_figures",
      "results.transform_figures",
      "results.memorisation_figures",
      "results.method_figures",
      "results.map_figures",
      "results.paper_figures",
      "results.poisoning_figures",
      "results.theory_figures",
    ),
    ("torch", "bench.peers"),
    ("tensorflow_datasets", "data.prepare", "data.tfds_folder"),
    ("array_record", "data.tfds_folder"),
    (
      "PIL",
      "data.tfds_folder",
      "data.class_folders",
      "data.png_folder",
      "defenses.transforms.jpeg",
      "results.page",
    ),
    ("tensorflow",),
    ("safetensors", "experiment.weights"),
    ("tensorboardX", "runtime.tensorboard"),
  )
  def test_who_sees_a_library(self, library, *modules):
    importing = {m for m, tree in sources().items() if imports_any(tree, library)}
    self.assertEqual(importing, set(modules))

  def test_models_alone_see_the_convolutions_that_the_bench_times(self):
    importing = {m for m in sources() if "models.convolution" in neighbours(m, sources())}
    self.assertEqual(
      importing, {"models.networks", "models.modules", "models.denoiser", "bench.plain"}
    )

  def test_configs_and_main_leave_the_rest_to_the_package(self):
    for path in (_ROOT / "main.py", *sorted((_ROOT / "configs").glob("*.py"))):
      tree = ast.parse(path.read_text())
      self.assertEmpty(imports_any(tree, "flax", "matplotlib", "jax"), path.name)

  def test_starting_a_run_loads_nothing_that_it_needs_not_yet(self):
    """Each of them takes a second or more, of every start."""
    code = "import sys, pacd_jax.suites.commands; print(*sys.modules)"
    loaded = subprocess.run(
      [sys.executable, "-c", code], cwd=_ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    slow = {"matplotlib", "scipy.stats", "sklearn", "tensorflow", "tensorflow_datasets"}
    self.assertIn("jax", loaded)
    self.assertEmpty(slow.intersection(loaded))

  def test_reading_results_needs_no_jax(self):
    """Every module of `results/`, imported in a process of its own."""
    modules = [f"pacd_jax.{module}" for module in rooms()["results"]]
    program = (
      "import importlib, sys\n"
      f"for name in {modules!r}:\n"
      "  importlib.import_module(name)\n"
      "print([name for name in ('jax', 'jaxlib', 'flax', 'optax') if name in sys.modules])"
    )
    done = subprocess.run(
      [sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True
    )
    self.assertEqual((done.stdout, done.stderr), ("[]\n", ""))

  def test_forbidden_uses(self):
    used = {module: forbidden_uses(tree) for module, tree in sources().items()}
    self.assertEmpty({module: uses for module, uses in used.items() if uses})


_BEFORE_THE_DOOR = {"bench", "experiment", "paper", "suites"}
_NAMES_OF_SETTINGS = ("config", "settings", "options", "spec")
# Files that make the config of plain values, and read it back, are the door themselves.
_THE_DOOR = (
  *("experiment.schema", "experiment.door", "experiment.identity"),
  *("experiment.suite_specs", "experiment.command", "experiment.command_line"),
  "experiment.config_files",
)


def _dictionaries_of_settings(tree):
  """Parameters named as settings, and annotated as a dictionary or a ConfigDict."""
  found = []
  for node in ast.walk(tree):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
      for each in arguments:
        words = ast.unparse(each.annotation) if each.annotation is not None else ""
        is_dictionary = words.startswith(("dict", "Mapping[str, Any]", "ml_collections"))
        if each.arg in _NAMES_OF_SETTINGS and is_dictionary:
          found.append(f"{node.name}({each.arg}: {words})")
      if node.args.kwarg is not None and node.args.kwarg.arg in _NAMES_OF_SETTINGS:
        found.append(f"{node.name}(**{node.args.kwarg.arg})")
  return found


class DoorTest(parameterized.TestCase):
  def test_nothing_behind_the_door_takes_a_dictionary_of_settings(self):
    found = {
      module: _dictionaries_of_settings(tree)
      for module, tree in sources().items()
      if module not in _THE_DOOR
    }
    self.assertEmpty({module: those for module, those in found.items() if those})

  def test_such_a_function_would_be_seen(self):
    tree = ast.parse("def f(config: dict[str, Any], *, n, **options): pass")
    found = _dictionaries_of_settings(tree)
    self.assertEqual(found, ["f(config: dict[str, Any])", "f(**options)"])


if __name__ == "__main__":
  absltest.main()
