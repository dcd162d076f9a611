"""Every solver and hypergradient that a config can name, as it is built."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import types
from pacd_jax.experiment import attack_assembly, attack_config, config, kinds, schema


def _attack(**changes):
  """The group `attack` with `a__b=value` for the field a.b."""
  flat = {f"attack.{name.replace('__', '.')}": v for name, v in changes.items()}
  return schema.replaced(config.Config(), flat).attack


def _quadratic():
  """(upper, lower, theta, u): H = diag(1, 2, 3), grad f = 1, d^2 g / d theta du = -I."""
  scales = jnp.arange(1.0, 4.0)
  lower = types.LowerLevel(
    lambda theta, u: (theta, u),
    lambda out: 0.5 * jnp.sum(scales * out[0] ** 2) - out[0] @ out[1],
  )
  u = jnp.array([1.0, -2.0, 3.0])
  return lambda theta, u: jnp.sum(theta), lower, u / scales, u


class SolversTest(parameterized.TestCase):
  @parameterized.parameters(*kinds.SOLVERS.names)
  def test_every_solver_solves_the_damped_system(self, name):
    """(H + 0.5 I) p = 1, and du = p; identity alone does not solve it."""
    options = _attack(
      solver=name, damping=0.5, solver_steps=60, solver_learning_rate=0.03, nystrom__rank=3
    )
    du, info = jax.jit(attack_assembly.hypergradient(options), static_argnums=(0, 1))(
      *_quadratic()
    )
    expected = np.ones(3) if name == "identity" else 1.0 / (np.arange(1.0, 4.0) + 0.5)
    loose = name in ("adam_residual", "single_loop")
    np.testing.assert_allclose(du, expected, rtol=0.1 if loose else 1e-3)
    if name != "identity":
      self.assertLess(float(info.solve.relative_residual), 0.1 if loose else 1e-3)

  @parameterized.parameters(("unrolling", 0.5), ("penalty", 1e-2))
  def test_the_others_have_no_damping(self, name, rate):
    """du = 1 / (1, 2, 3); Adam has not quite come to rest."""
    options = _attack(
      hypergradient=name, solver_steps=40, **{f"{name}__learning_rate": rate}
    )
    du, info = jax.jit(attack_assembly.hypergradient(options), static_argnums=(0, 1))(
      *_quadratic()
    )
    np.testing.assert_allclose(du, 1.0 / np.arange(1.0, 4.0), rtol=0.2)
    self.assertEqual(int(info.solve.num_steps), 40)


class DefiniteTest(parameterized.TestCase):
  @parameterized.parameters("cg", "ekfac", "neumann", "single_loop")
  def test_needed_by_what_minimises_the_quadratic(self, solver):
    self.assertTrue(attack_config.needs_definite(_attack(solver=solver)))
    unrolled = _attack(solver=solver, hypergradient="unrolling")
    self.assertFalse(attack_config.needs_definite(unrolled))

  @parameterized.parameters("identity", "normal_equations", "adam_residual", "nystrom")
  def test_not_needed_by_the_others(self, solver):
    self.assertFalse(attack_config.needs_definite(_attack(solver=solver)))

  def test_the_remedy_is_one_line_with_a_damping_that_is_enough(self):
    line = attack_assembly.remedy(_attack(curvature="hessian", damping=0.1), -0.3)
    self.assertLen(line.splitlines(), 1)
    for words in ("damping over 0.4", "curvature=gauss_newton", "normal_equations"):
      self.assertIn(f"attack.{words}" if "=" in words or " " in words else words, line)
    self.assertNotIn("curvature=", attack_assembly.remedy(_attack(), -0.3))


if __name__ == "__main__":
  absltest.main()
