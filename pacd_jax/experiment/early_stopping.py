"""Early stopping by the ACR on trusted images: each victim's best epoch is kept.

The epoch is chosen on clean validation images of the target class, which a victim of a
clean-label poison hardly has: an upper bound on what early stopping does as a defence
(Sandoval-Segura et al., 2022, https://arxiv.org/abs/2204.08615, report the peak over
epochs, too). The attack sees the same validation split.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pacd_jax import noise, train, types
from pacd_jax.certification import confidence
from pacd_jax.runtime import metrics, sharding

METRIC = "trusted_acr"


class Kept(NamedTuple):
  """Victims in training, and each one's parameters after its best epoch so far."""

  state: train.TrainState
  params: types.Params  # Every leaf has the leading axis `V`, the victims.
  acr: types.Array  # float32 `[V]`: theirs on the trusted images; -1 before the first.


class Stopping(NamedTuple):
  """How epochs are judged, and which."""

  every: int  # Epochs between two that are judged; the last one is, too.
  total: int  # All epochs.
  # `acr(params)`: float32 `[V]` on the host, of parameters with the leading axis V.
  acr: Callable[[types.Params], np.ndarray]

  def epoch(
    self, epoch_fn: Callable[..., Any], kept: Kept, number: int, given: Sequence[Any]
  ) -> tuple[Kept, types.Aux]:
    """Trains for epoch `number` by `epoch_fn(state, *given)`; judges if that is due."""
    state, values = epoch_fn(kept.state, *given)
    if (number + 1) % self.every and number + 1 != self.total:
      return kept._replace(state=state), values
    acr = jnp.asarray(self.acr(state.params))
    return judged(kept, state, acr), values | {METRIC: acr}

  def facts(self, log: pathlib.Path, row: str) -> str:
    """Says in a sentence which epochs of a row were kept; "" if the log lacks some."""
    by_epochs = metrics.MetricsFile(log).values("train", f"{row}/{METRIC}")
    if len(by_epochs) < -(-self.total // self.every):
      return ""
    epochs, acrs = list(by_epochs), np.array(list(by_epochs.values()))
    best = [str(epochs[place] + 1) for place in acrs.argmax(axis=0)]
    return (
      f"Its victims are those after {', '.join(best)} of {self.total} epochs, by their ACR "
      "on trusted validation images."
    )


def first(state: train.TrainState) -> Kept:
  """Victims before their first epoch: the first that is judged is kept."""
  params = jax.tree.map(jnp.zeros_like, state.params)  # The state's own are donated.
  return Kept(state, params, -jnp.ones_like(state.epoch, jnp.float32))


def judged(kept: Kept, state: train.TrainState, acr: types.Array) -> Kept:
  """Keeps the parameters of the victims whose ACR is above all earlier ones.

  Args:
    kept: what was kept before.
    state: the victims now.
    acr: float32 `[V]`, theirs.
  """
  return Kept(state, *_better((kept.params, kept.acr), (state.params, acr)))


@jax.jit
def _better(old, new):
  is_better = new[1] > old[1]

  def choose(before, now):
    return jnp.where(is_better.reshape(-1, *[1] * (now.ndim - 1)), now, before)

  return jax.tree.map(choose, old, new)


def make_acr(
  apply: types.ApplyFn,
  images: np.ndarray,
  labels: np.ndarray,
  key: types.Key,
  *,
  sigma: float,
  n: int,
  alpha: float,
  mesh: jax.sharding.Mesh,
) -> Callable[[types.Params], np.ndarray]:
  """Makes `acr(params)`, an estimate of many victims' ACR by the same fixed noise.

  A point's radius is sigma Phi^-1(p_A), with p_A the lower bound from the votes for its own
  label among n, and 0 where p_A is under 1/2.

  Args:
    apply: base classifier.
    images: float32 `[M, H, W, C]` in [0, 1].
    labels: int `[M]`.
    key: of the noise; folded, not consumed.
    sigma: noise standard deviation in image units.
    n: votes of a point, all evaluated at once.
    alpha: probability that a bound is wrong.
    mesh: the devices, each of which judges its share of the victims.
  """

  def votes(params, images, labels, key):
    def of_point(params, point):
      image, label, number = point
      of_image = jax.random.fold_in(key, number)
      noisy = image[None] + sigma * noise.draw(of_image, n, image[None])[:, 0]
      return (apply(params, noisy).argmax(axis=-1) == label).sum()

    points = images, labels, jnp.arange(len(images))
    return jax.lax.map(
      lambda params: jax.lax.map(lambda point: of_point(params, point), points), params
    )

  shared = sharding.over_rows(votes, mesh, in_axes=(0, None, None, None))
  votes_fn = jax.jit(shared, out_shardings=sharding.replicated(mesh))
  given = sharding.replicate((images, np.asarray(labels, np.int32), key), mesh)

  def acr(params):
    counts = np.asarray(votes_fn(params, *given))
    radii = confidence.radius(counts, n, sigma=sigma, alpha=alpha)
    return np.maximum(radii, 0.0).mean(axis=1).astype(np.float32)

  return acr
