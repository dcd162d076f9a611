"""The manifold of a run, `data.manifold`: fitted on its validation images when it is used.

They are trusted: no poison moves the manifold, which is the same for all rows, for the
attack, for its victims, and for attacks on these. It has a seed of its own, and nothing of
it is saved: a stage that needs it fits it anew, to the same numbers.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.data import arrays
from pacd_jax.experiment import kinds, making
from pacd_jax.experiment.config import Config
from pacd_jax.manifolds import latent_pgd, manifold


@dataclasses.dataclass(frozen=True)
class _Fit:
  """All that a manifold follows from; equal ones are fitted once in a process."""

  entry: kinds.Manifold
  options: Any
  seed: int
  checksum: str
  images: np.ndarray = dataclasses.field(compare=False, repr=False)


def of_run(config: Config, splits: types.Splits) -> manifold.Manifold:
  """The manifold of a run, fitted when it is first used, or traced.

  Its use raises `errors.InputError` if it has more latents than the images have directions,
  and `errors.NonFiniteError` if its training does not end well.
  """
  choice, trusted = config.data.manifold, splits.validation
  return _lazy(
    _Fit(
      kinds.MANIFOLDS[choice.name],
      choice.own,
      config.seed,
      arrays.checksum(trusted),
      trusted.images,
    )
  )


def of_loss(config: Config, splits: types.Splits, loss: str) -> manifold.Manifold | None:
  """The run's manifold if the loss of this name moves along one; else None."""
  return of_run(config, splits) if kinds.LOSSES[loss].needs_manifold else None


def check(config: Config, splits: types.Splits) -> None:
  """Raises `errors.InputError` if the manifold has more latents than images directions."""
  choice = config.data.manifold
  with errors.about(f"config field data.{choice.name}"):
    manifold.check_dimension(splits.validation.images, choice.own.latent_dimension)


def on_latents(
  config: Config, splits: types.Splits, apply: types.ApplyFn
) -> tuple[types.ApplyFn, Callable[[types.Array], types.Array]]:
  """A classifier f as one of latents, f(G(z)), and E, so that attacks on images move these.

  Latents have the shape `[B, 1, 1, d]` in both.
  """
  made = of_run(config, splits)

  def classify(params, latents):
    return apply(params, made.decode(latent_pgd.as_latents(latents)))

  return classify, lambda images: latent_pgd.as_images(made.encode(images))


@functools.lru_cache(maxsize=4)
def _lazy(fit: _Fit) -> manifold.Manifold:
  @functools.cache
  def fitted() -> manifold.Manifold:
    with jax.ensure_compile_time_eval():
      key = jax.random.fold_in(jax.random.key(fit.seed), making.MANIFOLD)
      return fit.entry.fit(kinds.ManifoldTools(fit.images, key), fit.options)

  return manifold.Manifold(
    lambda images: fitted().encode(images),
    lambda latents: fitted().decode(latents),
    fit.options.latent_dimension,
  )
