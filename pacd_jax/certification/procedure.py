"""The contract of certification procedures: what a run asks of what certifies its points.

`smoothed.Smoothing` and `deterministic.Verification` keep it.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from pacd_jax import types


class Procedure(Protocol):
  """A way to certify the predictions of one classifier, with its settings."""

  @property
  def norm(self) -> str:
    """Of the balls that it certifies, one of `provenance.NORMS`."""
    ...

  @property
  def radius(self) -> float:
    """One of the order of those that it certifies, image units, for attacks to start at."""
    ...

  @property
  def draws(self) -> bool:
    """Whether it draws noise: certificates then hold at 1 - alpha, else for certain."""
    ...

  @property
  def has_radius(self) -> bool:
    """Whether it certifies radii, and not the prediction alone."""
    ...

  def described(self) -> dict[str, Any]:
    """The fields of a sidecar that its certificates depend on.

    Without noise they are `procedure`, its name, `norm`, `epsilon`, `most`, `num_halvings`
    and `dtype`, and others of its own; see `provenance`.
    """
    ...

  def check_memory(self, image_shape: tuple[int, int, int]) -> None:
    """Raises `errors.InputError` if what it holds at once does not fit in memory."""
    ...

  def measured(self, params: types.Params, dataset: types.Dataset) -> dict[str, float]:
    """Further figures of a whole split for a sidecar, by their names there.

    Without noise, `provenance.VERIFIED_ACCURACY` is one.
    """
    ...

  def certify(
    self, params: types.Params, images: np.ndarray, labels: np.ndarray, key: types.Key
  ) -> tuple[np.ndarray, np.ndarray]:
    """Certifies a batch of images in memory.

    Args:
      params: theta.
      images: uint8 or float32 `[B, H, W, C]` in [0, 1].
      labels: int `[B]`; sampling may stop early where votes favour another class.
      key: consumed, if noise is drawn.

    Returns:
      Predictions int64 `[B]`, -1 for abstentions, and certified radii float64 `[B]` in
      `norm`, image units, 0 where nothing is certified.

    Raises:
      errors.InputError: the images cannot be certified, or do not fit in memory.
      errors.NonFiniteError: a sample's logits are not finite.
    """
    ...

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
    """Certifies images of a split into the files of `path`, or resumes them.

    Args:
      params: theta.
      dataset: the split: images uint8 `[N, H, W, C]`, labels int `[N]`.
      indices: int `[M]` in [0, N), the points to certify, in this order.
      key: consumed, if noise is drawn.
      path: `DIR/seed_<k>`, see `certificates`.
      seed: the victim's seed.
      extra: further fields of the sidecar, which its own fields override.
      on_point: called after each new point with (points done, M, certificate, label).
      stops_early: whether sampling may stop where votes favour another class than the
        label; False where other classes' radii are wanted, too.

    Raises:
      errors.InputError: the files cannot be resumed.
      errors.NonFiniteError: a sample's logits are not finite.
    """
    ...
