"""Attackers' objectives, minimised: functions of theta on clean images of the class."""

from pacd_jax import smoothing, types


def soft_acr(
  apply: types.ApplyFn,
  *,
  sigma: float,
  num_noise_samples: int = 20,
  inverse_temperature: float = 16.0,
) -> types.ObjectiveFn:
  """The average certified radius of the soft smoothed classifier: PACD's upper level.

  xi of Algorithm 1 of Mehra et al. (2021), https://arxiv.org/abs/2012.01274; the defaults
  are those of the authors' code for MNIST.

  Args:
    apply: base classifier.
    sigma: standard deviation of the smoothing noise, in image units.
    num_noise_samples: k, noise draws per image.
    inverse_temperature: beta.
  """

  def objective(params, images, labels, key):
    probs = smoothing.soft_smoothed_probs(
      apply,
      params,
      images,
      key,
      sigma=sigma,
      num_samples=num_noise_samples,
      inverse_temperature=inverse_temperature,
    )
    return smoothing.average_certified_radius(probs, labels, sigma=sigma)

  return objective


def negative_loss(loss: types.LossFn) -> types.ObjectiveFn:
  """Minus the loss on the target class: the attack on the accuracy of standard training.

    min_u -L(D_val; theta*(u))

  It is the traditional poisoning attack (Munoz-Gonzalez et al., 2017,
  https://arxiv.org/abs/1708.08689); Table 1 of Mehra et al. (2021) shows that it fails
  against certified defenses.
  """
  return lambda params, images, labels, key: -loss(params, images, labels, key)[0]
