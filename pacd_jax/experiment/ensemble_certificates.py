"""Certificates of victims that are ensembles: at test time, against poisoning, under both.

Beside `certificates/<row>/seed_<k>`, an ensemble has its certificates against poisoning of
every point of the split, in `against_poison/`, and those at test time that hold whichever m
images are poisoned, in `poisoned_<m>/`.
"""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.certification import certificates, joint, poisoning
from pacd_jax.data import arrays
from pacd_jax.defenses.aggregation import ensemble, scheme
from pacd_jax.experiment.ensembles import EnsemblePlan
from pacd_jax.experiment.plan import Plan
from pacd_jax.models import precision
from pacd_jax.runtime import progress

_BATCH = 500  # Test images at a time through all networks.


def of(plan: Plan) -> EnsemblePlan:
  """The plan's ensemble, which it must have."""
  assert plan.ensemble is not None
  return plan.ensemble


def identity_at(plan: Plan, row: str, seed: int, level: int) -> dict[str, Any]:
  """`Plan.certificate_identity` of the certificates at a level."""
  own = {joint.FIELD: level} if level else {}
  return plan.certificate_identity(row, seed) | own


def facts(plan: Plan, row: str) -> str:
  """Says in a sentence how much of the training set the row changes, and what is certified.

  "" for a row that changes nothing.
  """
  sets = plan.training_sets
  size = of(plan).scheme.size(sets.split(types.CLEAN), sets.split(row))
  if not size:
    return ""
  records = poisoning.read_all(plan.folder.against_poison(row, 0).parent)
  most = max(float(record.radius.max()) for record in records)
  unit = of(plan).scheme.unit
  if not np.isfinite(size):
    return f"It changes more than certificates here are of ({unit})."
  says = (
    f"No certificate here is of more than {most:.4g}"
    if size > most
    else (f"Certificates here are of up to {most:.4g}")
  )
  return f"Its change of the training set is {size:.4g} ({unit}). {says}."


# --- against poisoning ----------------------------------------------------------------


def against_poison(
  plan: Plan, row: str, seed: int, params: types.Params, extra: Mapping[str, Any]
) -> dict[str, float]:
  """Certifies every point of the split against poisoning, if the files are not there.

  Args:
    plan: the run's.
    row, seed: the victim,
    params: and its parameters, `[M, ...]`.
    extra: the sidecar's fields, beside what is measured.

  Returns:
    "accuracy" and "class_accuracy": the ensemble's, without noise.

  Raises:
    errors.NonFiniteError: a network's logits are not finite.
  """
  path = plan.folder.against_poison(row, seed)
  if not poisoning.is_there(path):
    _certify_against_poison(plan, row, seed, params, extra)
  found = poisoning.read(path).sidecar
  return {name: found[name] for name in ("accuracy", "class_accuracy")}


def _certify_against_poison(plan, row, seed, params, extra) -> None:
  began, found, dataset = time.monotonic(), [], plan.certify.dataset
  num_points, num_classes = len(dataset.labels), plan.splits.num_classes
  name = f"certify/{row}/seed_{seed}/against_poison"
  shown = progress.Progress(name, num_points, unit="points")
  orders_of = functools.partial(
    _orders,
    apply=of(plan).network.apply,
    depth=of(plan).scheme.depth,
    dtype=plan.certify.settings.dtype,
  )
  for start in range(0, num_points, _BATCH):
    images = arrays.to_float(dataset.images[start : start + _BATCH])
    orders, finite = jax.device_get(orders_of(params, images))
    if not finite.all():
      number = int(np.argmin(finite))
      raise errors.NonFiniteError(f"{name}: network {number} has non-finite logits")
    found.append(orders.transpose(1, 0, 2))
    shown.update(start + len(images))
  orders = np.concatenate(found)
  predict, radius = certified(of(plan).scheme, orders, num_classes)
  poisoning.write(
    plan.folder.against_poison(row, seed),
    idx=np.arange(num_points),
    label=dataset.labels,
    predict=predict,
    radius=radius,
    orders=orders,
    sidecar={
      **extra,
      **_accuracies(
        of(plan).scheme, orders, dataset.labels, plan.target_class, num_classes
      ),
    },
    seconds=time.monotonic() - began,
  )


@functools.partial(jax.jit, static_argnames=("apply", "depth", "dtype"))
def _orders(params, images, *, apply, depth, dtype):
  """Orders `[M, B, D]` of the networks, and whether each one's logits are finite `[M]`."""

  def evaluated(params, images):
    return precision.evaluate(apply, params, images, dtype)

  logits = ensemble.logits_of(evaluated, params, images)
  return scheme.orders(logits, depth), jnp.isfinite(logits).all(axis=(1, 2))


def certified(
  aggregation: scheme.Scheme, orders: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
  """Predictions and radii, `[N]` each, of the networks' orders, uint8 `[N, M, D]`."""
  found = [aggregation.certify(logits) for logits in _in_parts(orders, num_classes)]
  predict, radius = (np.concatenate(each) for each in zip(*found, strict=True))
  return predict.astype(np.int64), radius.astype(np.float64)


def _in_parts(orders: np.ndarray, num_classes: int):
  """Logits `[M, B, K]` with these orders, a batch of points at a time."""
  for start in range(0, len(orders), _BATCH):
    part = jnp.asarray(orders[start : start + _BATCH]).transpose(1, 0, 2)
    yield scheme.as_logits(part, num_classes)


def _accuracies(aggregation, orders, labels, target_class, num_classes) -> dict[str, float]:
  """The ensemble's accuracy over all classes and over the target class."""
  parts = _in_parts(orders, num_classes)
  right = np.concatenate([aggregation.predict(logits) for logits in parts]) == labels
  return {
    "accuracy": float(right.mean()),
    "class_accuracy": float(right[labels == target_class].mean()),
  }


def are_against_poison(plan: Plan, row: str, seed: int) -> bool:
  """Whether a victim's certificates against poisoning are there.

  Raises:
    errors.InputError: they are damaged, or of another run.
  """
  path = plan.folder.against_poison(row, seed)
  if not poisoning.is_there(path):
    return False
  there = poisoning.read(path).sidecar
  for name, expected in plan.victim_identity(row, seed).items():
    if there.get(name) != expected:
      raise errors.InputError(
        f"{path}.tsv belongs to another run ({name} differs in {path.name}.json): delete "
        "both and rerun --stage=certify"
      )
  return True


def check_votes(plan: Plan, row: str, seed: int) -> None:
  """Computes a victim's certificates against poisoning again, from the votes beside them.

  Raises:
    errors.InputError: the votes are damaged, or certify something else.
  """
  path = plan.folder.against_poison(row, seed)
  record, orders = poisoning.read(path), poisoning.read_orders(path)
  predict, radius = certified(of(plan).scheme, orders, plan.splits.num_classes)
  same = np.array_equal(predict, record.predict)
  if not (same and np.allclose(radius, record.radius, rtol=1e-6, atol=1e-9)):
    raise errors.InputError(
      f"{path}.tsv is not what its votes certify: delete it and {path.name}.json, and "
      "rerun --stage=certify"
    )


# --- at test time, under both ---------------------------------------------------------


def at_levels(
  plan: Plan,
  row: str,
  seed: int,
  params: types.Params,
  extra: Mapping[str, Any],
  on_point: Callable[..., None],
) -> None:
  """Certifies the run's points at every level; arguments as for `against_poison`."""
  made, dataset = of(plan), plan.certify.dataset
  joint.certify_to_files(
    ensemble.joint(made.network, made.scheme, made.levels),
    params,
    dataset.images,
    dataset.labels,
    plan.certify.indices,
    plan.certify_key(seed),
    {level: plan.folder.certificate(row, seed, level) for level in made.levels},
    plan.certify.settings,
    num_classes=plan.splits.num_classes,
    seed=seed,
    extra=lambda level: {**extra, **identity_at(plan, row, seed, level)},
    on_point=on_point,
  )


def are_complete(plan: Plan, row: str, seed: int) -> bool:
  """Whether a victim has all of its files; raises as their readers do."""
  levels = [plan.folder.certificate(row, seed, level) for level in of(plan).levels]
  against = poisoning.is_there(plan.folder.against_poison(row, seed))
  return against and all(map(certificates.is_complete, levels))
