"""A loss with an adversary of the attacker's own: the inner maximum of min-min-max."""

import jax

from pacd_jax import evasion, types
from pacd_jax.attacks import problem


def robust(
  settings: problem.Settings, *, radius: float, num_steps: int
) -> problem.Settings:
  """Settings whose loss is the greatest within a ball around each image.

    L'(theta; x) = max_a L(theta; x + a),  |a|_norm <= radius epsilon,  x + a in [0, 1]

  by PGD from a = 0, under the noise of L, in steps of 2 radius epsilon / num_steps. Only
  losses without mixed labels have an adversary, so that the victim's mixing is left out.

  Args:
    settings: an attack's; its loss L must have no adversary.
    radius: as a share of epsilon; 0: the settings are returned as they are.
    num_steps: of the PGD, at least 1.

  Raises:
    ValueError: the loss has an adversary.
  """
  loss = settings.loss
  if loss.adversary is not None:
    raise ValueError("the loss has an adversary: give one without")
  if radius == 0.0:
    return settings
  pgd = evasion.Pgd(radius * settings.epsilon, settings.norm, num_steps)

  def adversary(params, images, labels, key, strength):
    params = jax.lax.stop_gradient(params)

    def objective(inputs) -> types.Scalar:
      # The key is reused on purpose: all steps are under the noise of training.
      logits = loss.outputs(params, inputs, jax.random.clone(key))
      return len(images) * loss.criterion(logits, labels)[0]

    return images + evasion.pgd(pgd, objective, images, strength=strength)

  loss = loss._replace(adversary=adversary, num_noise_draws=None)
  return settings._replace(loss=loss, mix=None)
