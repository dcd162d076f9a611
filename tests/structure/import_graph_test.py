"""The reading of imports, on sources that break the rules."""

import ast

from absl.testing import absltest, parameterized
from import_graph import (
  collectives,
  forbidden_uses,
  imports_any,
  neighbours,
  reachable,
)


class ReadingTest(parameterized.TestCase):
  @parameterized.parameters(
    ("import flax.linen as nn", "flax"),
    ("from flax import linen", "flax"),
    ("from flax.linen import Dense", "flax"),
    ("def f():\n  import matplotlib.pyplot", "matplotlib"),
    ("if True:\n  from ml_collections import config_flags", "ml_collections"),
  )
  def test_libraries(self, source, library):
    tree = ast.parse(source)
    self.assertEqual(imports_any(tree, library, "other"), {library})
    self.assertEmpty(imports_any(tree, "linen", "pyplot"))

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
    trees = dict.fromkeys(names, ast.parse("")) | {"new": ast.parse(source)}
    self.assertEqual(neighbours("new", trees), expected)

  def test_reachable(self):
    lines = {"a": "b", "b": "c", "c": "a", "d": "a"}
    trees = {m: ast.parse(f"from pacd_jax import {n}") for m, n in lines.items()}
    self.assertEqual(reachable("d", trees), {"a", "b", "c"})
    self.assertIn("a", reachable("a", trees))

  @parameterized.parameters(
    ("jax.lax.psum(x, 'devices')", "psum"),
    ("from jax import shard_map", "shard_map"),
    ("from jax.experimental import multihost_utils", "multihost_utils"),
  )
  def test_collectives(self, source, expected):
    self.assertEqual(collectives(ast.parse(source)), {expected})

  @parameterized.parameters(
    ("jax.pmap(f)", "pmap"),
    ("from jax import pmap", "pmap"),
    ("import pickle", "pickle"),
    ("def f():\n  from pickle import loads", "pickle"),
    ("np.load(path, allow_pickle=True)", "allow_pickle"),
    ("np.load(path, allow_pickle=flag)", "allow_pickle"),
    ("print('done')", "print"),
    ("import time\nbegan = time.time()", "time.time"),
  )
  def test_forbidden_uses(self, source, expected):
    self.assertEqual(forbidden_uses(ast.parse(source)), {expected})

  @parameterized.parameters(
    "np.load(path, allow_pickle=False)", "jax.vmap(f)", "'print(x)'  # pickle, pmap"
  )
  def test_allowed_uses(self, source):
    self.assertEmpty(forbidden_uses(ast.parse(source)))


if __name__ == "__main__":
  absltest.main()
