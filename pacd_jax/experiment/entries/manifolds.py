"""Manifolds of images by name: of `data.manifold`."""

import dataclasses

from pacd_jax.experiment import fields, kinds, row_tools
from pacd_jax.manifolds import manifold, pca, vae

_DEFAULT = vae.Settings()


@dataclasses.dataclass(frozen=True)
class Pca:
  """The options of `pca`."""

  latent_dimension: int = fields.field(
    16, fields.count(), "Principal components, at most the images' rank."
  )


@dataclasses.dataclass(frozen=True)
class Vae:
  """The options of `vae`."""

  latent_dimension: int = fields.field(
    _DEFAULT.latent_dimension, fields.count(), "Latents, at most the images' rank."
  )
  width: int = fields.field(
    _DEFAULT.width, fields.count(most=2**16), "Of the two hidden layers of each network."
  )
  noise: float = fields.field(
    _DEFAULT.noise,
    fields.interval("(0, 1]"),
    "Standard deviation of a pixel around the decoder's, image units.",
  )
  num_epochs: int = fields.field(
    _DEFAULT.num_epochs, fields.count(), "Of Adam on the validation images."
  )


def _pca(tools: kinds.ManifoldTools, options: Pca) -> manifold.Manifold:
  return pca.fit(tools.images, latent_dimension=options.latent_dimension)


def _vae(tools: kinds.ManifoldTools, options: Vae) -> manifold.Manifold:
  settings = vae.Settings(**dataclasses.asdict(options))
  watch = row_tools.watch("manifold/vae", settings.num_epochs, "epochs")

  def report(epoch, loss):
    watch(epoch, {"loss": loss})

  return vae.fit(tools.images, tools.key, settings, report)


kinds.MANIFOLDS.add(
  kinds.Manifold("pca", _pca, "the first principal components, whitened", Pca)
)
kinds.MANIFOLDS.add(
  kinds.Manifold(
    "vae", _vae, "a small variational autoencoder (Kingma and Welling, 2014)", Vae
  )
)
