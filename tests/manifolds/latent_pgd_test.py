"""On-manifold PGD where its answer is known: a linear classifier on a linear manifold."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import evasion
from pacd_jax.data import arrays
from pacd_jax.manifolds import latent_pgd, manifold, pca

_STORED = np.random.default_rng(0).integers(0, 256, (20, 3, 3, 1), np.uint8)
_X = jnp.asarray(arrays.to_float(_STORED[:6]))
_WEIGHTS = jax.random.normal(jax.random.key(1), (9,))
_G = pca.fit(_STORED, latent_dimension=4)
_PGD = evasion.Pgd(0.3, "linf", 3)


def _score(images):
  """What each image gives; its sum is the objective."""
  return images.reshape(len(images), -1) @ _WEIGHTS


def _moves(attack=_PGD, **options):
  return latent_pgd.perturbations(
    attack, _G, lambda images: _score(images).sum(), _X, **options
  )


def _images(moves):
  return _G.decode(_G.encode(_X) + moves)


class LatentPgdTest(parameterized.TestCase):
  def test_a_linear_objective_is_greatest_at_a_corner(self):
    """At radius sign(G' w), which gains radius |G' w|_1; latents are in no box."""
    basis = _G.decode(jnp.eye(4)) - _G.decode(jnp.zeros((1, 4)))
    slope = np.asarray(_score(basis), np.float64)
    moves = _moves()
    np.testing.assert_allclose(
      moves, np.broadcast_to(0.3 * np.sign(slope), moves.shape), atol=1e-6
    )
    gained = _score(_images(moves)) - _score(manifold.project(_G, _X))
    np.testing.assert_allclose(gained, 0.3 * np.abs(slope).sum(), rtol=1e-4)

  @parameterized.parameters(
    (evasion.Pgd(0.3, "linf", 1), None),
    (evasion.Pgd(2.0, "l2", 2), jax.random.key(0)),
    (evasion.Pgd(0.5, "linf", 4, evasion.adam), jax.random.split(jax.random.key(1), 6)),
  )
  def test_stays_in_the_ball_and_on_the_manifold(self, attack, key):
    moves = np.asarray(_moves(attack, key=None if key is None else jax.random.clone(key)))
    order = np.inf if attack.norm == "linf" else 2
    sizes = np.linalg.norm(moves, ord=order, axis=1)
    self.assertLessEqual(sizes.max(), attack.epsilon * (1 + 1e-5))
    attacked = _images(moves)
    before = _score(manifold.project(_G, _X))
    self.assertGreater(float((_score(attacked) - before).min()), 0.0)
    np.testing.assert_allclose(manifold.project(_G, attacked), attacked, atol=1e-5)

  def test_radius_zero_moves_nothing(self):
    moves = _moves(evasion.Pgd(0.0, "linf", 2), key=jax.random.key(0))
    np.testing.assert_array_equal(moves, 0.0)

  def test_strength_is_a_share_of_the_radius(self):
    half = _moves(evasion.Pgd(0.15, "linf", 3))
    np.testing.assert_allclose(_moves(strength=0.5), half, atol=1e-7)

  def test_starts_are_drawn_in_the_ball(self):
    """A flat objective moves nothing from where it starts."""
    moves = latent_pgd.perturbations(
      _PGD, _G, lambda images: 0.0 * images.sum(), _X, key=jax.random.key(3)
    )
    self.assertGreater(np.abs(moves).max(), 0.2)
    self.assertLessEqual(np.abs(moves).max(), 0.3)
    self.assertLen(np.unique(np.asarray(moves)), moves.size)

  @parameterized.parameters((-0.1, 2), (0.1, 0), (float("nan"), 1))
  def test_refuses_settings_out_of_range(self, radius, steps):
    with self.assertRaisesRegex(ValueError, "use a radius of at least 0 and at least 1"):
      latent_pgd.check(evasion.Pgd(radius, "linf", steps))


if __name__ == "__main__":
  absltest.main()
