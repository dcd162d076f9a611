"""Training against moves on a manifold, alone or beside those of pixels."""

import jax
import jax.numpy as jnp

from pacd_jax import evasion, losses, types
from pacd_jax.manifolds import latent_pgd
from pacd_jax.manifolds.manifold import Manifold


def on_manifold(
  apply: types.ApplyFn, manifold: Manifold, *, attack: evasion.Pgd
) -> types.Loss:
  """On-manifold adversarial training (OM-AT), as in Lin et al. (2020).

    min_theta (1/|D|) sum_i max_{|lambda| <= epsilon} l_ce(G(E(x_i) + lambda), y_i; theta)

  https://arxiv.org/abs/2009.02470, there with latents that give the images exactly; here
  with those of each image's place on the manifold. PGD starts from a uniform draw in the
  ball. At radius 0 it is standard training on the images' projections G(E(x_i)).

  Args:
    apply: base classifier.
    manifold: E and G.
    attack: ball and steps, in units of the latents; a radius of 0 is allowed.

  Returns:
    A `Loss` with an adversary; the key draws the PGD's start.

  Raises:
    ValueError: the PGD's settings are invalid (`latent_pgd.check`).
  """
  latent_pgd.check(attack)
  standard = losses.standard(apply)

  def adversary(params, images, labels, key, strength):
    params = jax.lax.stop_gradient(params)

    def objective(images):
      return len(images) * standard.criterion(apply(params, images), labels)[0]

    moved = latent_pgd.perturbations(
      attack, manifold, objective, images, key=key, strength=strength
    )
    return manifold.decode(manifold.encode(images) + moved)

  # The key is for the start of the PGD.
  return standard._replace(adversary=adversary, num_noise_draws=None)


def dual_manifold(
  apply: types.ApplyFn,
  manifold: Manifold,
  *,
  attack: evasion.Pgd,
  on_manifold_attack: evasion.Pgd,
  weight: float = 1.0,
) -> types.Loss:
  """Dual-manifold adversarial training (DMAT) of Lin et al. (2020).

    min_theta (1/|D|) sum_i [ max_{|delta| <= epsilon} l_ce(x_i + delta, y_i; theta)
      + weight max_{|lambda| <= epsilon'} l_ce(G(E(x_i) + lambda), y_i; theta) ]

  https://arxiv.org/abs/2009.02470, whose weight is 1, and whose images are all
  on the manifold. At weight 0 it is adversarial training (`losses.adversarial`) with the
  same draws.

  Args:
    apply: base classifier.
    manifold: E and G.
    attack: ball and steps in pixels, image units.
    on_manifold_attack: ball and steps in latents, in their units.
    weight: of the second term, at least 0.

  Returns:
    A `Loss` with an adversary; the key draws the starts of both PGDs. Of the auxiliary
    numbers "accuracy" is at x + delta, and "on_manifold_accuracy" at G(E(x) + lambda).

  Raises:
    ValueError: the weight is under 0, or a PGD's settings are invalid.
  """
  if not weight >= 0.0:
    raise ValueError(f"dual_manifold has weight {weight}: use at least 0")
  off = losses.adversarial(apply, attack=attack)
  on = on_manifold(apply, manifold, attack=on_manifold_attack)
  assert off.adversary is not None and on.adversary is not None
  of_pixels, of_latents = off.adversary, on.adversary

  def outputs(params, images, key):
    del key
    logits = apply(params, jnp.concatenate(images))
    return logits.reshape(2, -1, logits.shape[-1])

  def adversary(params, images, labels, key, strength):
    latent_key = _other(key)
    return (
      of_pixels(params, images, labels, key, strength),
      of_latents(params, images, labels, latent_key, strength),
    )

  def criterion(logits, labels):
    value, aux = off.criterion(logits[0], labels)
    on_value, on_aux = on.criterion(logits[1], labels)
    aux |= {"on_manifold_accuracy": on_aux["accuracy"]}
    return value + weight * on_value, aux

  return types.Loss(outputs, criterion, adversary)


def _other(key: types.Key) -> types.Key:
  """Another key, or one for each image, as `key` is."""
  if not key.shape:
    return jax.random.fold_in(key, 1)
  return jax.vmap(lambda each: jax.random.fold_in(each, 1))(key)
