"""Where an inserted point passes the filters `l2` and `slab`: sphere, slab and box.

Koh, Steinhardt and Liang (2022), https://arxiv.org/abs/1811.00741, section 2.3: a defender
keeps points near the centroid of their class (sphere) and near it along the line to the
centroid of the other (slab). An attacker who knows that keeps to

  F(y) = {x in [0, 1]^d : |x - mu_y| <= r_y,  |<x - mu_y, v>| <= s_y},
  v = (mu_y - mu_-y) / |mu_y - mu_-y|,

with centroids and thresholds of the data that the defender has, the inserted points among
them. In the shape descriptions `d` is the number of features.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import errors, types

_HALVINGS = 32  # Of a multiplier's bracket, whose relative width is then 5e-10.
_LARGEST = 1e12  # Of a multiplier.


class FeasibleSet(NamedTuple):
  """F of one class; of several points, every leaf has a leading axis `[n]`."""

  centre: types.Array  # `[d]`, mu_y.
  radius: types.Array  # `[]`, r_y.
  normal: types.Array  # `[d]`, v, of length 1.
  width: types.Array  # `[]`, s_y.


def ranks(
  signs: np.ndarray, signs_of_poison: np.ndarray, kept: Sequence[int]
) -> tuple[int, int]:
  """How many clean points of a class its thresholds must let pass: (negative, positive).

  A filter that keeps m of a class's n + k points, those of the lowest scores, keeps all of
  k inserted ones if none of them scores above the (m - k)-th lowest of the clean points.

  Args:
    signs: of the clean points, `[N]`, +1 or -1.
    signs_of_poison: of the inserted points, `[n]`.
    kept: m of the negative and of the positive class.

  Raises:
    errors.InputError: a class has no clean point, or the filters keep no more points of it
      than are inserted: its feasible set is empty.
  """
  found = []
  for sign, name, number in ((-1, "negative", kept[0]), (1, "positive", kept[1])):
    clean, inserted = (int((each == sign).sum()) for each in (signs, signs_of_poison))
    if not clean:
      raise errors.InputError(f"there is no {name} point: a classifier needs both classes")
    rank = min(number - inserted, clean)
    if inserted and rank < 1:
      raise errors.InputError(
        f"the feasible set is empty: of the {name} class the filters keep {number} points, "
        f"and {inserted} are to be inserted: insert fewer"
      )
    found.append(max(rank, 1))
  return found[0], found[1]


def of_data(
  points: types.Array,
  signs: types.Array,
  poison: types.Array,
  signs_of_poison: types.Array,
  ranks: types.Array,
  *,
  margin: float | types.Array = 0.0,
) -> FeasibleSet:
  """The feasible sets of inserted points, by the data that the filters will see.

  Args:
    points: clean points, `[N, d]`.
    signs: theirs, `[N]`.
    poison: inserted points, which move the centroids, `[n, d]`.
    signs_of_poison: theirs, `[n]`.
    ranks: as `ranks` gives them, `[2]`.
    margin: taken off radius and width; sqrt(d) / 510 leaves room for rounding to 8 bits.

  Returns:
    The set of each inserted point; its radius or width is below 0 if it is empty.
  """
  every, of_every = jnp.concatenate([points, poison]), jnp.append(signs, signs_of_poison)
  means = [jnp.mean(every, axis=0, where=(of_every == s)[:, None]) for s in (-1, 1)]

  def of_class(place: int, sign: int) -> FeasibleSet:
    own, other = means[place], means[1 - place]
    line = own - other
    normal = line / jnp.linalg.norm(line)
    offsets = points - own[None]

    def threshold(scores):
      return jnp.sort(jnp.where(signs == sign, scores, jnp.inf))[ranks[place] - 1] - margin

    radius = threshold(jnp.linalg.norm(offsets, axis=1))
    return FeasibleSet(own, radius, normal, threshold(jnp.abs(offsets @ normal)))

  classes = jax.tree.map(lambda *leaves: jnp.stack(leaves), of_class(0, -1), of_class(1, 1))
  of_poison = (signs_of_poison > 0).astype(int)
  return jax.tree.map(lambda leaf: leaf[of_poison], classes)


def project(feasible: FeasibleSet, point: types.Array) -> types.Array:
  """The nearest point of sphere, slab and box to a point, `[d]` -> `[d]`.

  By its dual, which has two multipliers: with

    x(a, b) = clip((z + a mu - b v) / (1 + a), 0, 1),

  <x - mu, v> falls with b, and with the b that the slab asks for, |x - mu| falls with a.
  Both are found by bisection, which ends on the side where the constraint holds. If the
  set is empty, so that no such side is there, the result is outside of it (`is_inside`).
  """
  centre, radius, normal, width = feasible

  def in_slab(a):
    def at(b):
      return jnp.clip((point + a * centre - b * normal) / (1.0 + a), 0.0, 1.0)

    def along(b):
      return (at(b) - centre) @ normal

    side = jnp.sign(along(0.0))
    return at(side * _least(lambda b: side * along(side * b) <= width))

  def in_sphere(a):
    return jnp.linalg.norm(in_slab(a) - centre) <= radius

  return in_slab(_least(in_sphere))


def _least(holds: Callable[[types.Array], types.Array]) -> types.Array:
  """The least multiplier from 0 on for which it holds, and it does; a large one if none.

  0 is tried first, then numbers that double until one holds, then halves of the bracket:
  all in one loop, which has `holds` once, so that it compiles fast where it is nested.
  """

  def unfinished(bracket):
    lower, upper, halvings = bracket
    return (upper > 0.0) & (halvings < _HALVINGS) & (lower < _LARGEST)

  def step(bracket):
    lower, upper, halvings = bracket
    growing = jnp.isinf(upper)
    larger = jnp.where(lower < 0.0, 0.0, jnp.maximum(2.0 * lower, 2.0**-4))
    tried = jnp.where(growing, larger, 0.5 * (lower + upper))
    inside = holds(tried)
    lower, upper = jnp.where(inside, lower, tried), jnp.where(inside, tried, upper)
    return lower, upper, jnp.where(growing, halvings, halvings + 1)

  one = jnp.ones((), jnp.result_type(float))
  start = -one, jnp.inf * one, jnp.int32(0)
  lower, upper, _ = jax.lax.while_loop(unfinished, step, start)
  return jnp.where(jnp.isinf(upper), lower, upper)


def is_inside(
  feasible: FeasibleSet, point: types.Array, tolerance: float = 0.0
) -> types.Array:
  """Whether a point `[d]` is in sphere, slab and box up to a tolerance: bool `[]`."""
  offset = point - feasible.centre
  return (
    (jnp.linalg.norm(offset) <= feasible.radius + tolerance)
    & (jnp.abs(offset @ feasible.normal) <= feasible.width + tolerance)
    & (point >= -tolerance).all()
    & (point <= 1.0 + tolerance).all()
  )


_project = jax.jit(project)


def check(feasible: FeasibleSet) -> None:
  """Raises an error if the feasible set of one class is empty.

  The nearest point of slab and box to the centre is then further away than the radius, or
  there is none.

  Raises:
    errors.InputError: it is empty.
  """
  nearest = _project(feasible, feasible.centre)
  if not is_inside(feasible, nearest, 1e-9):
    raise errors.InputError(
      f"the feasible set is empty: no point of [0, 1]^d is within {feasible.radius:.3g} of "
      f"the centroid and {feasible.width:.3g} of it along the line between the classes: "
      "insert fewer points, or let the filters remove a smaller share"
    )
