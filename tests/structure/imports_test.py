"""The import rules between rooms, read from the package's source."""

import pathlib

from absl.testing import absltest, parameterized
from import_graph import (
  forbidden_uses,
  imported,
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
  "types": set(),
  "errors": set(),
  "noise": set(),
  "perturbation": set(),
  "smoothing": {"noise"},
  "evasion": {"perturbation"},
  "losses": {"evasion", "noise", "smoothing"},
  "models": set(),
  "bilevel": set(),
  "runtime": set(),
  "data": {"runtime"},
  "linear_case": {"bilevel", "perturbation"},
  "train": {"data", "models", "noise", "runtime"},
  "attacks": {"data", "noise", "perturbation", "smoothing"},
  "defenses": {"data"},
  "certification": {"data", "evasion", "losses", "models", "noise", "runtime"},
}


class RulesTest(parameterized.TestCase):
  @parameterized.parameters(*_MAY_IMPORT)
  def test_a_room_imports_from_those_that_it_may(self, name):
    found = {room(n) for m in rooms()[name] for n in neighbours(m, sources())}
    self.assertContainsSubset(found - {name}, _MAY_IMPORT[name] | _CONTRACTS)

  def test_imports_are_absolute(self):
    """The rules would not see the others."""
    relative = {
      module: [name for name in imported(tree) if name.startswith(".")]
      for module, tree in sources().items()
    }
    self.assertEmpty({module: names for module, names in relative.items() if names})

  def test_there_is_no_cycle(self):
    circular = [m for m in sources() if m in reachable(m, sources())]
    self.assertEmpty(circular)

  def test_forbidden_uses(self):
    used = {module: forbidden_uses(tree) for module, tree in sources().items()}
    self.assertEmpty({module: uses for module, uses in used.items() if uses})


if __name__ == "__main__":
  absltest.main()
