"""Deterministic certificates (`deterministic`) as a `procedure.Procedure`."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pacd_jax import types
from pacd_jax.certification import deterministic, provenance


@dataclasses.dataclass(frozen=True)
class Verification:
  """A classifier certified by bounds of its outputs, in balls around the images.

  See `procedure.Procedure` for what the methods do.
  """

  settings: deterministic.Settings

  draws = False
  has_radius = True

  @property
  def norm(self) -> str:
    return self.settings.norm

  @property
  def radius(self) -> float:
    return self.settings.epsilon

  def described(self) -> dict[str, Any]:
    return deterministic.described(self.settings)

  def check_memory(self, image_shape: tuple[int, int, int]) -> None:
    """Checks nothing: it holds few images at once."""

  def measured(self, params: types.Params, dataset: types.Dataset) -> dict[str, float]:
    """The verified accuracy over all classes."""
    accuracy = deterministic.verified_accuracy(self.settings, params, dataset)
    return {provenance.VERIFIED_ACCURACY: accuracy}

  def certify(
    self, params: types.Params, images: np.ndarray, labels: np.ndarray, key: types.Key
  ) -> tuple[np.ndarray, np.ndarray]:
    del labels, key
    return deterministic.certify(self.settings, params, images)

  def certify_to_files(
    self,
    params: types.Params,
    dataset: types.Dataset,
    indices: np.ndarray,
    key: types.Key,
    path: str | os.PathLike,
    *,
    seed: int,
    num_classes: int,
    extra: Mapping[str, Any] | None = None,
    on_point: Callable[..., None] | None = None,
    stops_early: bool = True,
  ) -> None:
    del key, stops_early
    deterministic.certify_to_files(
      self.settings,
      params,
      *dataset,
      indices,
      path,
      seed=seed,
      num_classes=num_classes,
      extra=extra,
      on_point=on_point,
    )
