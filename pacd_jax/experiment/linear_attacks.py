"""The attacks of `pacd linear`, and what the filters `l2` and `slab` see of them."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import types
from pacd_jax.data import training_sets
from pacd_jax.defenses.filters import centroids, l2, removal, slab
from pacd_jax.experiment import linear_data
from pacd_jax.linear_case import (
  aims,
  influence_attack,
  label_flips,
  linear_classifiers,
  mei_zhu,
)
from pacd_jax.runtime import progress

CRITERIA = {
  "svm": linear_classifiers.smooth_hinge,
  "logistic": linear_classifiers.logistic,
  "least_squares": linear_classifiers.squared,
}
AIMS = {"soft_error": aims.soft_error, "loss": aims.loss}
FILTERS = {"l2": l2.score, "slab": slab.score}
# What else than rounding moves a threshold between the attack's last step and the filter.
_ROOM = 1e-3
_NUM_STARTS = 6  # Of the influence attack.


class Task(NamedTuple):
  """What an attack is given."""

  train: types.Dataset
  seen: types.Dataset  # Images with labels whose error the attacker raises.
  victim: str  # Of `CRITERIA`.
  ridge: float
  count: int  # Points to insert, to move or to relabel.
  aim: str  # Of `AIMS`.
  effort: float
  removed_share: float  # Of every class, by the filters.
  num_steps: int


class Changed(NamedTuple):
  """A training set as an attack leaves it."""

  train: types.Dataset
  poisoned: np.ndarray  # bool `[N]`: the attacker's.


def check_influence(task: Task, key: types.Key) -> None:
  """Checks that there is a point that the filters let pass.

  Raises:
    errors.InputError: there is none.
  """
  points, of_points = _points(task.train)
  given = points, of_points, task.count, _num_kept(task), key
  influence_attack.check(*given, margin=_margin(points), num_starts=_NUM_STARTS)


def _num_kept(task: Task) -> Callable[[int], int]:
  return functools.partial(removal.num_kept, task.removed_share)


def _margin(points: np.ndarray) -> float:
  return float(np.sqrt(points.shape[1])) / 510.0 + _ROOM


def _influence(task: Task, key: types.Key) -> Changed:
  shown = progress.Progress("influence", _NUM_STARTS, unit="starts")
  points, of_points = _points(task.train)
  found = influence_attack.run(
    points,
    of_points,
    *_points(task.seen),
    criterion=CRITERIA[task.victim],
    ridge=task.ridge,
    count=task.count,
    num_kept=_num_kept(task),
    key=key,
    aim=AIMS[task.aim],
    margin=_margin(points),
    num_starts=_NUM_STARTS,
    num_steps=task.num_steps,
    watch=shown.update,
  )
  images = linear_data.images(found.points, task.train.images.shape[1:])
  labels = (found.signs > 0).astype(np.int32)
  train = types.Dataset(
    np.concatenate([task.train.images, images]),
    np.concatenate([task.train.labels, labels]),
  )
  return Changed(train, np.arange(len(train.labels)) >= len(task.train.labels))


def _mei_zhu(task: Task, key: types.Key) -> Changed:
  """Moves the points that the clean victim is least sure of: no other moves an SVM."""
  del key
  criterion, aim = CRITERIA[task.victim], AIMS[task.aim]
  points, of_points = _points(task.train)
  seen, of_seen = _points(task.seen)

  def risk(params, u):
    del u
    return aim(criterion, params, jnp.asarray(seen), jnp.asarray(of_seen))

  with jax.enable_x64(True):
    clean = linear_classifiers.fit_points(criterion, points, of_points, task.ridge)
    others = len(points) - task.count
    surest = label_flips.farthest_first(clean, points, of_points, others)
  positions = np.setdiff1d(np.arange(len(points)), surest)
  found = mei_zhu.run(
    points,
    of_points,
    positions,
    risk=risk,
    criterion=criterion,
    ridge=task.ridge,
    effort=task.effort,
    num_steps=task.num_steps,
  )
  images = task.train.images.copy()
  images[positions] = linear_data.images(found.points, images.shape[1:])
  return _at(types.Dataset(images, task.train.labels), positions)


def _random_flips(task: Task, key: types.Key) -> Changed:
  return _flipped(task, label_flips.random_flips(len(task.train.labels), task.count, key))


def _farthest_first(task: Task, key: types.Key) -> Changed:
  del key
  points, of_points = _points(task.train)
  with jax.enable_x64(True):
    clean = linear_classifiers.fit_points(
      CRITERIA[task.victim], points, of_points, task.ridge
    )
    found = label_flips.farthest_first(clean, points, of_points, task.count)
  return _flipped(task, found)


def _alfa(task: Task, key: types.Key) -> Changed:
  found = label_flips.alfa(
    *_points(task.train),
    task.count,
    criterion=CRITERIA[task.victim],
    ridge=task.ridge,
    key=key,
  )
  return _flipped(task, found.flipped)


ATTACKS: dict[str, Callable[[Task, types.Key], Changed]] = {
  "influence": _influence,
  "mei_zhu": _mei_zhu,
  "random_flips": _random_flips,
  "farthest_first": _farthest_first,
  "alfa": _alfa,
}


def filtered(changed: Changed, name: str, share: float) -> np.ndarray:
  """Which images a filter removes, by the centroids of the set itself: bool `[N]`."""
  training_set = training_sets.whole(changed.train)
  vectors = linear_data.points(changed.train.images).astype(np.float32)
  means = centroids.means(vectors, changed.train.labels, 2)
  scores = FILTERS[name](vectors, changed.train.labels, means)
  removal.check_share(name, training_set, share)
  _, report = removal.by_share(name, training_set, scores, share)
  return np.isin(np.arange(len(vectors)), report.removed)


def test_error(
  train: types.Dataset, test: types.Dataset, victim: str, ridge: float
) -> float:
  """The share of test images that a victim trained on these gets wrong."""
  with jax.enable_x64(True):
    params = linear_classifiers.fit_points(CRITERIA[victim], *_points(train), ridge)
    return linear_classifiers.error_rate(params, *_points(test))


def _points(dataset: types.Dataset) -> tuple[np.ndarray, np.ndarray]:
  return linear_data.points(dataset.images), linear_data.signs(dataset.labels)


def _flipped(task: Task, positions: np.ndarray) -> Changed:
  labels = task.train.labels.copy()
  labels[positions] = 1 - labels[positions]
  return _at(types.Dataset(task.train.images, labels), positions)


def _at(train: types.Dataset, positions: np.ndarray) -> Changed:
  return Changed(train, np.isin(np.arange(len(train.labels)), positions))
