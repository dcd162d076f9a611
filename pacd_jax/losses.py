"""Training losses: each function returns a `Loss`, shared by the attack and the victims.

In the shape descriptions `k` is the number of noisy copies of each image.
"""

import chex
import jax
import jax.numpy as jnp
import optax

from pacd_jax import evasion, noise, smoothing, types


def _accuracy(probs, labels):
  return {"accuracy": (probs.argmax(axis=-1) == labels).mean()}


def _cross_entropy(
  logits: types.Array, labels: types.Array
) -> tuple[types.Scalar, types.Aux]:
  """Mean cross-entropy, and the batch's accuracy."""
  chex.assert_rank([logits, labels], [2, 1])
  losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return losses.mean(), _accuracy(logits, labels)


def _check_samples(num_noise_samples: int) -> None:
  if num_noise_samples < 1:
    raise ValueError(f"num_noise_samples is {num_noise_samples}: use at least 1")


def _mean_cross_entropy(logits: types.Array, labels: types.Array) -> types.Scalar:
  """The mean of (1/k) sum_j l_ce(logits_j, y) over images; logits are `[k, B, K]`.

  It is convex in the logits, and an upper bound of the smoothed cross-entropy.

  Its Gauss-Newton matrix is the Fisher information of the k predictions.
  """
  labels = jnp.broadcast_to(labels[None], logits.shape[:2])
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def standard(apply: types.ApplyFn) -> types.Loss:
  """Empirical risk: (1/|D|) sum_i l_ce(x_i, y_i; theta). The key is not used."""

  def outputs(params, images, key):
    del key
    return apply(params, images)

  return types.Loss(outputs, _cross_entropy, num_noise_draws=0)


def gaussian_augmentation(apply: types.ApplyFn, *, sigma: float) -> types.Loss:
  """Gaussian augmentation (GA) of Cohen et al. (2019), https://arxiv.org/abs/1902.02918.

    L(theta) = (1/|D|) sum_i l_ce(x_i + eta_i, y_i; theta),  eta_i ~ N(0, sigma^2 I)

  L_GaussAug of Mehra et al. (2021), section 3.2. Noisy images are not clipped.

  Args:
    apply: base classifier.
    sigma: noise standard deviation in image units.

  Returns:
    A `Loss` with one noise draw per image and call.
  """

  def outputs(params, images, key):
    return apply(params, images + sigma * noise.draw(key, 1, images)[0])

  return types.Loss(outputs, _cross_entropy, num_noise_draws=1)


def macer(
  apply: types.ApplyFn,
  *,
  sigma: float,
  num_noise_samples: int = 16,
  lam: float = 16.0,
  gamma: float = 8.0,
  inverse_temperature: float = 16.0,
) -> types.Loss:
  """MACER of Zhai et al. (2020), https://arxiv.org/abs/2001.02378: maximise the radius.

    L(theta) = (1/|D|) sum_i [ -log z_y(x_i; 1)
      + (lambda sigma / 2) max(gamma - xi(x_i, y_i), 0) 1(xi(x_i, y_i) > 0) ]
    z(x; beta) = (1/k) sum_j softmax(beta logits(x + eta_j)),  eta_j ~ N(0, sigma^2 I)

  xi is `smoothing.soft_margin` of z(x; beta), a certified radius over sigma / 2. As in
  the authors' code, the robustness loss alone has the temperature. L_macer of Mehra et
  al. (2021), section 3.2.

  Args:
    apply: base classifier.
    sigma: noise standard deviation in image units.
    num_noise_samples: k.
    lam: lambda, weight of the robustness loss.
    gamma: hinge factor in (0, 20]: radii above gamma sigma / 2 are not penalised.
    inverse_temperature: beta.

  Returns:
    A `Loss`; aux also holds "robustness", the second term without lambda.

  Raises:
    ValueError: an argument is out of its range.
  """
  _check_samples(num_noise_samples)
  if not (lam >= 0.0 and 0.0 < gamma <= 20.0 and inverse_temperature > 0.0):
    raise ValueError(
      f"macer has lam {lam}, gamma {gamma}, inverse_temperature {inverse_temperature}: use "
      "at least 0, (0, 20], and above 0"
    )

  def outputs(params, images, key):
    return noise.noisy_logits(
      apply, params, images, key, sigma=sigma, num_samples=num_noise_samples
    )

  def criterion(logits, labels):
    cross_entropy = smoothing.cross_entropy(logits, labels).mean()
    xi = smoothing.soft_margin(logits, labels, inverse_temperature=inverse_temperature)
    hinge = jnp.where(xi > 0.0, jnp.maximum(gamma - xi, 0.0), 0.0)
    robustness = 0.5 * sigma * hinge.mean()
    aux = _accuracy(jax.nn.softmax(logits).mean(axis=0), labels)
    return cross_entropy + lam * robustness, aux | {"robustness": robustness}

  return types.Loss(
    outputs, criterion, convex=_mean_cross_entropy, num_noise_draws=num_noise_samples
  )


def smoothadv(
  apply: types.ApplyFn,
  *,
  sigma: float | types.Array,
  attack: evasion.Pgd,
  num_noise_samples: int = 1,
) -> types.Loss:
  """SmoothAdv of Salman et al. (2019), https://arxiv.org/abs/1906.04584.

    min_theta (1/|D|) sum_i max_{|x' - x_i| <= epsilon} -log (1/m) sum_j
      softmax(logits(x' + eta_j))_y,   eta_j ~ N(0, sigma^2 I)

  The maximum is approximated by PGD from x' = x, and the classifier is trained on x' under
  the same m noise draws. For m > 1 the authors' code trains on the mean of the m
  cross-entropies instead; at m = 1, which PACD uses, the two are the same.

  Args:
    apply: base classifier.
    sigma: noise standard deviation in image units.
    attack: ball and steps of the PGD.
    num_noise_samples: m.

  Returns:
    A `Loss` with an adversary.

  Raises:
    ValueError: m is under 1, or the PGD's settings are invalid (`evasion.check`).
  """
  _check_samples(num_noise_samples)
  evasion.check(attack)

  def outputs(params, images, key):
    return noise.noisy_logits(
      apply, params, images, key, sigma=sigma, num_samples=num_noise_samples
    )

  def adversary(params, images, labels, key, strength):
    params = jax.lax.stop_gradient(params)
    eta = sigma * noise.draw(key, num_noise_samples, images)

    def objective(images):
      noisy = (images[None] + eta).reshape(-1, *images.shape[1:])
      logits = apply(params, noisy).reshape(num_noise_samples, len(images), -1)
      return smoothing.cross_entropy(logits, labels).sum()

    return images + evasion.pgd(attack, objective, images, strength=strength)

  def criterion(logits, labels):
    aux = _accuracy(jax.nn.softmax(logits).mean(axis=0), labels)
    return smoothing.cross_entropy(logits, labels).mean(), aux

  return types.Loss(
    outputs, criterion, adversary, _mean_cross_entropy, num_noise_draws=num_noise_samples
  )


def adversarial(apply: types.ApplyFn, *, attack: evasion.Pgd) -> types.Loss:
  """Adversarial training of Madry et al. (2018), https://arxiv.org/abs/1706.06083.

    min_theta (1/|D|) sum_i max_{|x' - x_i| <= epsilon} l_ce(x', y_i; theta)

  by PGD from a uniform draw in the ball; the classifier is not smoothed.

  Args:
    apply: base classifier.
    attack: ball and steps of the PGD.

  Returns:
    A `Loss` with an adversary; the key draws the PGD's start.

  Raises:
    ValueError: the PGD's settings are invalid (`evasion.check`).
  """
  evasion.check(attack)

  def adversary(params, images, labels, key, strength):
    params = jax.lax.stop_gradient(params)

    def objective(images):
      return len(images) * _cross_entropy(apply(params, images), labels)[0]

    start = evasion.uniform_in_ball(attack, key, images, strength)
    delta = evasion.pgd(attack, objective, images, start=start, strength=strength)
    return images + delta

  # The key is for the PGD's start.
  return standard(apply)._replace(adversary=adversary, num_noise_draws=None)


def trades(apply: types.ApplyFn, *, attack: evasion.Pgd, weight: float = 6.0) -> types.Loss:
  """TRADES of Zhang et al. (2019), https://arxiv.org/abs/1901.08573.

    min_theta (1/|D|) sum_i [ l_ce(x_i, y_i; theta)
      + weight max_{|x' - x_i| <= epsilon} KL(softmax(logits(x_i)) | softmax(logits(x'))) ]

  by PGD from x_i + 0.001 N(0, I), as in the authors' code; the classifier is not smoothed.

  Args:
    apply: base classifier.
    attack: ball and steps of the PGD.
    weight: 1 / lambda of the paper, beta in its code.

  Returns:
    A `Loss` with an adversary; the key draws the PGD's start, and aux also holds
    "divergence".

  Raises:
    ValueError: the weight is under 0, or the PGD's settings are invalid (`evasion.check`).
  """
  evasion.check(attack)
  if not weight >= 0.0:
    raise ValueError(f"trades has weight {weight}: use at least 0")

  def outputs(params, images, key):
    del key
    logits = apply(params, jnp.concatenate(images))
    return logits.reshape(2, -1, logits.shape[-1])

  def adversary(params, images, labels, key, strength):
    del labels
    params = jax.lax.stop_gradient(params)
    natural = jax.lax.stop_gradient(apply(params, images))
    start = 1e-3 * noise.draw(key, 1, images)[0]

    def objective(images):
      return _divergence(natural, apply(params, images)).sum()

    delta = evasion.pgd(attack, objective, images, start=start, strength=strength)
    return images, images + delta

  def criterion(logits, labels):
    natural, attacked = logits
    value, aux = _cross_entropy(natural, labels)
    divergence = _divergence(natural, attacked).mean()
    return value + weight * divergence, aux | {"divergence": divergence}

  def convex(logits, labels):
    natural, attacked = logits
    targets = jax.lax.stop_gradient(jax.nn.softmax(natural))
    of_attacked = optax.softmax_cross_entropy(attacked, targets).mean()
    return _cross_entropy(natural, labels)[0] + weight * of_attacked

  return types.Loss(outputs, criterion, adversary, convex, num_noise_draws=1)


def _divergence(p_logits, q_logits):
  """KL(softmax(p) | softmax(q)) of each image, `[B, K]` -> `[B]`."""
  log_p, log_q = jax.nn.log_softmax(p_logits), jax.nn.log_softmax(q_logits)
  return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)
