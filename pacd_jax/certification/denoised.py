"""Denoised smoothing: a classifier behind a denoiser, and the losses that train that.

Salman et al. (2020), https://arxiv.org/abs/2003.01908: a classifier f that never saw noise
is certified by randomized smoothing as f o D, with D a denoiser. Smoothing asks nothing of
the classifier that it certifies, so certificates hold for f o D whatever D is: one that is
badly trained, or trained on poisoned images, costs radius and not soundness.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from pacd_jax import errors, noise, types
from pacd_jax.models import denoiser


class Params(NamedTuple):
  """The parameters of a classifier behind a denoiser."""

  classifier: types.Params
  denoiser: types.Params


class InTraining(NamedTuple):
  """The parameters of a denoiser that is trained, and of the classifiers that it sees."""

  teachers: types.Params  # Every leaf is `[M, ...]`, of M classifiers; (): it sees none.
  denoiser: types.Params


def behind(model: types.Model, network: denoiser.Denoiser) -> types.Model:
  """The classifier f(D(x)), whose parameters are `Params`; its features are f's at D(x).

  Raises:
    errors.InputError: when applied, if D returns images of another shape than it is given.
  """

  def of(function):
    def behind_denoiser(params, images):
      denoised = network.apply(params.denoiser, images)
      if denoised.shape != images.shape:
        raise errors.InputError(
          f"the denoiser makes images {list(denoised.shape)} of {list(images.shape)}: use "
          "one of images of their shape"
        )
      return function(params.classifier, denoised)

    return behind_denoiser

  def init(key, image_shape):
    of_classifier, of_denoiser = jax.random.split(key)
    return Params(
      model.init(of_classifier, image_shape), network.init(of_denoiser, image_shape)
    )

  features = None if model.features is None else of(model.features)
  return types.Model(init, of(model.apply), features)


def _noise_left(clean, denoised, sigma):
  """E |D(x + e) - x|^2 / (sigma^2 d): 1 for a denoiser that does nothing."""
  return {"noise_left": jnp.mean((denoised - clean) ** 2) / sigma**2}


def mse(denoise: types.ApplyFn, *, sigma: float) -> types.Loss:
  """The mean squared error of the denoised images.

    L(D) = E |D(x + e) - x|^2 / d,  e ~ N(0, sigma^2 I)

  L_MSE of Salman et al. (2020), section 3.1, with the mean over the d pixels of an image in
  place of their sum. The best linear D on pixels of independent N(m, s^2) is Wiener's,
  D(z) = m + (z - m) s^2 / (s^2 + sigma^2). Labels are not used.

  Args:
    denoise: D, of noisy images.
    sigma: noise standard deviation in image units, above 0.

  Returns:
    A `Loss` of `InTraining`, with one noise draw per image and call.
  """

  def outputs(params, images, key):
    chex.assert_rank(images, 4)
    noisy = images + sigma * noise.draw(key, 1, images)[0]
    return images, denoise(params.denoiser, noisy)

  def criterion(outputs, labels):
    del labels
    clean, denoised = outputs
    return jnp.mean((denoised - clean) ** 2), _noise_left(clean, denoised, sigma)

  return types.Loss(outputs, criterion)


def stability(
  denoise: types.ApplyFn, classify: types.ApplyFn, *, sigma: float
) -> types.Loss:
  """How far classifiers are from their own class of the clean image.

    L(D) = E mean_m l_ce(f_m(D(x + e)), argmax_c f_m(x)_c),  e ~ N(0, sigma^2 I)

  L_Stab of Salman et al. (2020), section 3.1. The classifiers f_m, which are constant, are
  the one that is certified (white box), or surrogates of it (query access). Labels are not
  used: a classifier's own class counts.

  Args:
    denoise: D, of noisy images.
    classify: logits of a classifier f_m, given its parameters.
    sigma: noise standard deviation in image units, above 0.

  Returns:
    A `Loss` of `InTraining`, whose derivative in the classifiers is 0.
  """

  def outputs(params, images, key):
    chex.assert_rank(images, 4)
    denoised = denoise(params.denoiser, images + sigma * noise.draw(key, 1, images)[0])

    def of_one(teacher):
      return classify(teacher, images).argmax(axis=-1), classify(teacher, denoised)

    teachers = jax.lax.stop_gradient(params.teachers)
    return images, denoised, *jax.lax.map(of_one, teachers)

  def criterion(outputs, labels):
    del labels
    clean, denoised, classes, logits = outputs
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
    agreement = (logits.argmax(axis=-1) == classes).mean()
    found = {"agreement": agreement} | _noise_left(clean, denoised, sigma)
    return losses.mean(), found

  return types.Loss(outputs, criterion)
