"""Certification by the run's procedure: randomized smoothing, or bounds of the network.

`certify.procedure` names it. Whoever certifies points of a run does so by `to_files`, or in
memory by `radii`.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import certify, deterministic
from pacd_jax.data import arrays
from pacd_jax.experiment import kinds
from pacd_jax.experiment.config import Config
from pacd_jax.experiment.plan import CertifyPlan

SMOOTHING = "smoothing"  # The procedure that draws noisy copies.


def check(config: Config) -> None:
  """Checks the fields that a deterministic procedure has no use for, before any work.

  Raises:
    errors.InputError: names the fields, their values, and what to do instead.
  """
  certify, name = config.certify, config.certify.procedure.name
  if name == SMOOTHING:
    return
  balls = certify.procedure.own
  if balls.epsilon > balls.most:
    raise errors.InputError(
      f"certify.{name}.epsilon={balls.epsilon:g} is above the largest radius that is "
      f"looked for, certify.{name}.most={balls.most:g}: raise the latter"
    )
  aggregation = config.train.ensemble.aggregation.name
  for field, value, must_be in (
    ("certify.dtype", certify.dtype, "float32"),
    ("certify.sound", certify.sound, False),
    ("certify.mode", certify.mode.name, "fixed"),
    ("train.ensemble.aggregation", aggregation, "none"),
    ("train.stopping.every", config.train.stopping.every, 0),
  ):
    if value != must_be:
      raise errors.InputError(
        f"{field} is {value}, but certify.procedure={name} bounds one network in float32, "
        f"and draws no noise: set it to {must_be}, or certify.procedure={SMOOTHING}"
      )


def make(
  config: Config, splits: types.Splits, model: types.Model
) -> deterministic.Procedure | None:
  """The run's deterministic procedure; None: it certifies by randomized smoothing.

  Raises:
    errors.InputError: the procedure cannot bound the network.
  """
  choice = config.certify.procedure
  entry = kinds.PROCEDURES[choice.name]
  if entry.make is None:
    return None
  image_shape = splits.train.images.shape[1:]
  verify = entry.make(
    kinds.ProcedureTools(model, image_shape, splits.num_classes), choice.own
  )
  _trace(entry.name, verify, model, image_shape)
  options = dataclasses.asdict(choice.own)
  if "box" in options:
    options["box"] &= choice.own.norm == "linf"  # An l2 ball is never cut.
  own = {name: options.pop(name) for name in ("norm", "epsilon", "most", "num_halvings")}
  return deterministic.Procedure(entry.name, verify, **own, options=options)


def _trace(
  name: str, verify: types.VerifyFn, model: types.Model, image_shape: tuple[int, int, int]
) -> None:
  """Verifies shapes alone, so that a layer without bounds is refused before any work."""
  params = jax.eval_shape(lambda key: model.init(key, image_shape), jax.random.key(0))
  image, radius = (
    jax.ShapeDtypeStruct(shape, np.float32) for shape in ((1, *image_shape), (1,))
  )
  try:
    jax.eval_shape(verify, params, image, radius)
  except errors.InputError as error:
    raise errors.InputError(f"certify.procedure={name}: {error}") from error


def to_files(
  points: CertifyPlan,
  model: types.Model,
  params: types.Params,
  dataset: types.Dataset,
  indices: np.ndarray,
  key: types.Key,
  path: str | os.PathLike,
  *,
  seed: int,
  extra: Mapping[str, Any],
  on_point: Callable[..., None] | None = None,
  stops_early: bool = True,
) -> None:
  """Certifies images of a split into files, or resumes them, by the plan's procedure.

  Args:
    points: the plan of certification.
    model: the classifier.
    params: its parameters.
    dataset: the split, and the labels.
    indices: the points of it, `[M]`.
    key: consumed, if noise is drawn.
    path, seed, extra, on_point, stops_early: as for `certify.certify_to_files`.

  Raises:
    errors.InputError: the files cannot be resumed.
    errors.NonFiniteError: a sample's logits are not finite.
  """
  if points.procedure is not None:
    deterministic.certify_to_files(
      points.procedure,
      params,
      *dataset,
      indices,
      path,
      seed=seed,
      num_classes=points.num_classes,
      extra=extra,
      on_point=on_point,
    )
    return
  certify.certify_to_files(
    model.apply,
    params,
    *dataset,
    indices,
    key,
    path,
    seed=seed,
    **points.settings._asdict(),
    extra=extra,
    on_point=on_point,
    stops_early=stops_early,
  )


def radii(
  points: CertifyPlan, model: types.Model, params: types.Params, key: types.Key
) -> np.ndarray:
  """The certified radii of the plan's points, `[M]`, 0 where the prediction is wrong."""
  images = points.dataset.images[points.indices]
  labels = points.dataset.labels[points.indices]
  if points.procedure is not None:
    predicted, found = deterministic.certify(points.procedure, params, images)
  else:
    predicted, found, _ = certify.certify(
      model.apply,
      params,
      arrays.to_float(images),
      key,
      labels=labels,
      **points.settings._asdict(),
    )
  return np.where(predicted == labels, found, 0.0)
