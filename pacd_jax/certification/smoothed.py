"""Randomized smoothing (`certify`) as a `procedure.Procedure`."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from pacd_jax import types
from pacd_jax.certification import certify as _certify
from pacd_jax.certification import sampling
from pacd_jax.data import arrays


@dataclasses.dataclass(frozen=True)
class Smoothing:
  """The smoothed classifier of a base classifier, certified by votes in l2 balls.

  See `procedure.Procedure` for what the methods do.
  """

  model: types.Model  # The base classifier.
  settings: _certify.Settings

  norm = "l2"
  draws = True

  @property
  def radius(self) -> float:
    return self.settings.sigma

  @property
  def has_radius(self) -> bool:
    return sampling.RULES[self.settings.mode].has_radius

  def described(self) -> dict[str, Any]:
    return _certify.described(self.settings)

  def check_memory(self, image_shape: tuple[int, int, int]) -> None:
    """Checks a batch of noisy images."""
    params = jax.eval_shape(
      lambda key: self.model.init(key, image_shape), jax.random.key(0)
    )
    _certify.check_memory(self.model.apply, params, image_shape, self.settings)

  def measured(self, params: types.Params, dataset: types.Dataset) -> dict[str, float]:
    """Nothing: its figures are those of its certificates."""
    del params, dataset
    return {}

  def certify(
    self, params: types.Params, images: np.ndarray, labels: np.ndarray, key: types.Key
  ) -> tuple[np.ndarray, np.ndarray]:
    predicted, radii, _ = _certify.certify(
      self.model.apply,
      params,
      arrays.to_float(images),
      key,
      labels=labels,
      **self.settings._asdict(),
    )
    return predicted, radii

  def certify_to_files(
    self,
    params: types.Params,
    dataset: types.Dataset,
    indices: np.ndarray,
    key: types.Key,
    path: str | os.PathLike,
    *,
    seed: int,
    extra: Mapping[str, Any] | None = None,
    on_point: Callable[..., None] | None = None,
    stops_early: bool = True,
  ) -> None:
    _certify.certify_to_files(
      self.model.apply,
      params,
      *dataset,
      indices,
      key,
      path,
      seed=seed,
      **self.settings._asdict(),
      extra=extra,
      on_point=on_point,
      stops_early=stops_early,
    )
