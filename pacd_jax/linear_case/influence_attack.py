"""The influence attack: inserted points that filters let pass and that raise the error.

Koh, Steinhardt and Liang (2022), "Stronger data poisoning attacks break data sanitization
defenses", section 4, https://arxiv.org/abs/1811.00741. In the shape descriptions `d` is the
number of features.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types
from pacd_jax.linear_case import aims, feasible_sets, linear_attack, linear_classifiers
from pacd_jax.linear_case.linear_classifiers import CriterionFn

_SETTLING = 20  # Projections in which the sets and the points in them come to agree.


class Inserted(NamedTuple):
  """The points that the attack found."""

  # `[n, d]`, in [0, 1] and projected to their feasible sets. The sets move with the points;
  # `run` says how far that is brought to an end.
  points: np.ndarray
  signs: np.ndarray  # `[n]`
  value: float  # Of the aim, at the points.
  values: np.ndarray  # `[S, T + 1]`: before each step of each start, and at its end.


def run(
  points: np.ndarray,
  signs: np.ndarray,
  seen: np.ndarray,
  signs_of_seen: np.ndarray,
  *,
  criterion: CriterionFn,
  ridge: float,
  count: int,
  num_kept: Callable[[int], int],
  key: types.Key,
  aim: Callable[..., types.Array] = aims.soft_error,
  margin: float = 0.0,
  num_starts: int = 6,
  step_size: float = 0.3,
  num_steps: int = 120,
  watch: Callable[[int], None] = lambda done: None,
) -> Inserted:
  """Inserts n points where the filters `l2` and `slab` do not remove them.

    min_u aim(theta*(u))   s.t.  u_j in F(v_j),   theta* = argmin g(theta, u)

  with g as `linear_classifiers.lower_level` has it. Each step is one of
  `linear_attack.descend`: the hypergradient, in which the paper's influence function is a
  solve by conjugate gradients, then the projection to the feasible sets. Centroids and
  thresholds are those of the data with the inserted points, at every step, since it is
  those that the filters will see. Step sizes fall linearly to 0.

  The projection changes the centroids, and by them the sets. After the last step it is
  repeated, 20 times, by when both have come to agree up to what they still move: far less
  than a `margin` of some thousandths, of which the filters let the points pass.

  A start is a choice of signs v (none, half or all of them positive, in turn) and of clean
  points of the opposite class to begin from, every other time one point for each sign, of
  which all begin as copies. Those whose feasible sets are empty are left out. The start
  with the lowest value at its end is taken.

  Args:
    points: clean training points, `[N, d]` in [0, 1].
    signs: theirs, `[N]`, +1 or -1.
    seen: points that the aim is about, `[m, d]`.
    signs_of_seen: theirs, `[m]`.
    criterion: the victim's loss.
    ridge: of the victim's loss.
    count: n, at least 1.
    num_kept: how many of so many points of a class the filters keep.
    key: of the starts; consumed.
    aim: `(criterion, params, seen, signs_of_seen) -> []`, of `aims`.
    margin: distance that the points keep to the borders of sphere and slab.
    num_starts: at least 1; S of them have feasible sets that are not empty.
    step_size: of the first step, in the unit of x.
    num_steps: T.
    watch: called with the number of starts that are done, after each.

  Raises:
    errors.InputError: a class has no point, a number is out of its range, or the feasible
      set is empty for every choice of signs (`check` says so sooner).
  """
  if not 0.0 <= step_size < np.inf:
    raise errors.InputError(f"step_size is {step_size}: use a number from 0 on")
  chosen = check(
    *(points, signs, count, num_kept, key), margin=margin, num_starts=num_starts
  )
  with jax.enable_x64(True):
    arrays = [jnp.asarray(x, jnp.float64) for x in (points, signs, seen, signs_of_seen)]
    descend, found = _descend(criterion, aim, num_steps), []
    for number, (start, own, ranks) in enumerate(chosen):
      result = descend(*arrays, start, own, ranks, ridge, step_size, margin)
      found.append(jax.tree.map(np.asarray, result))
      watch(number + 1)
  best = min(range(len(found)), key=lambda each: found[each][1])
  values = np.stack([each[2] for each in found])
  return Inserted(found[best][0], chosen[best][1], float(found[best][1]), values)


@functools.cache
def _descend(criterion: CriterionFn, aim, num_steps: int):
  """The compiled attack from one start: `(points, their value, values of steps)`."""

  @jax.jit
  def descend(points, signs, seen, of_seen, start, own, ranks, ridge, step_size, margin):
    lower = linear_classifiers.lower_level(
      criterion, points, ridge=ridge, signs=signs, signs_of_poison=own
    )

    def upper(params, u):
      del u
      return aim(criterion, params, seen, of_seen)

    def project(u):
      sets = feasible_sets.of_data(points, signs, u, own, ranks, margin=margin)
      return jax.vmap(feasible_sets.project)(sets, u)

    sizes = step_size * (1.0 - jnp.arange(num_steps) / max(num_steps, 1))
    found = linear_attack.descend(lower, upper, start, project, step_sizes=sizes, norm="l2")
    settled = jax.lax.fori_loop(0, _SETTLING, lambda _, u: project(u), found.best)
    value = upper(linear_classifiers.fit(lower, settled, start=found.params), settled)
    return settled, value, found.values

  return descend


def check(
  points: np.ndarray,
  signs: np.ndarray,
  count: int,
  num_kept: Callable[[int], int],
  key: types.Key,
  *,
  margin: float = 0.0,
  num_starts: int = 6,
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Checks what `run` is given, of which these are arguments, before any work.

  Returns:
    Points, signs and ranks of each start whose feasible sets are not empty.

  Raises:
    errors.InputError: as `run`.
  """
  _check(points, signs, count)
  points, signs = np.asarray(points), np.asarray(signs)
  found, refused = [], None
  for number in range(num_starts):
    try:
      start, own, of_start = _start(points, signs, count, num_kept, key, number)
      with jax.enable_x64(True):
        data = jnp.asarray(points, jnp.float64), jnp.asarray(signs, jnp.float64)
        given = jnp.asarray(start), jnp.asarray(own), jnp.asarray(of_start)
        _check_sets(feasible_sets.of_data(*data, *given, margin=margin), own)
    except errors.InputError as error:
      refused = error
    else:
      found.append((start, own, of_start))
  if refused is not None and not found:
    raise refused
  return found


def _start(points, signs, count, num_kept, key, number):
  """Points, signs and ranks of one start; an error if the filters keep too few points."""
  positive = (0, count // 2, count)[number % 3]
  own = np.where(np.arange(count) < positive, 1.0, -1.0)
  totals = [int((signs == s).sum() + (own == s).sum()) for s in (-1, 1)]
  ranks = feasible_sets.ranks(signs, own, [num_kept(total) for total in totals])
  drawn = np.empty((count, points.shape[1]))
  keys = jax.random.split(jax.random.fold_in(key, number))
  for of_key, sign in zip(keys, (-1, 1), strict=True):
    of_sign, others = np.flatnonzero(own == sign), points[signs == -sign]
    size = 1 if number // 3 % 2 else len(of_sign)
    places = jax.random.randint(of_key, (size,), 0, len(others))
    drawn[of_sign] = others[np.asarray(places)]
  return drawn, own, np.asarray(ranks)


def _check_sets(sets, own):
  """Raises an error if the feasible set of a sign that is used is empty at the start."""
  for sign in np.unique(own):
    place = int(np.argmax(own == sign))
    feasible_sets.check(jax.tree.map(lambda leaf, place=place: leaf[place], sets))


def _check(points, signs, count):
  if count < 1:
    raise errors.InputError(f"{count} points are to be inserted: use at least 1")
  linear_classifiers.check_classes(points[signs > 0], points[signs < 0])
  if points.min() < 0.0 or points.max() > 1.0:
    raise errors.InputError("points are outside of [0, 1]: scale them into it")
