"""Every function contract that crosses rooms, and the records that most rooms pass on.

Read this file first. A record of one room, such as `train.Trainer`, stands in that room.

In the shape descriptions `B` is a batch of images, `[H, W, C]` one image, `K` the number
of classes and `n` the number of images of the target class in the training split.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
  import jax
  import optax

  Array = jax.Array
else:  # Results are read, and pages written, where there is no JAX.
  Array = Any
Key = Array  # A typed PRNG key (`jax.random.key`).
Scalar = Array  # `[]` float32.
Params = Any  # A pytree of arrays: theta, the parameters of a base classifier.
Aux = dict[str, Array]  # Scalars to log beside a loss.
# The rows that code knows by name: clean data, and the attack of the paper.
CLEAN, PACD = "clean", "pacd"


class InitFn(Protocol):
  """First parameters of a base classifier."""

  def __call__(self, key: Key, image_shape: tuple[int, int, int], /) -> Params:
    """The parameters; `image_shape` is `(H, W, C)`; the key is consumed."""


class ApplyFn(Protocol):
  """A base classifier."""

  def __call__(self, params: Params, images: Array, /) -> Array:
    """Logits: float32 `[B, H, W, C]` -> float32 `[B, K]`.

    Images are in [0, 1] or such images plus noise, as they are: nothing is clipped.
    """


class Model(NamedTuple):
  """A base classifier as two pure functions."""

  init: InitFn
  apply: ApplyFn


class LossFn(Protocol):
  """What a network is trained to minimise."""

  def __call__(
    self, params: Params, images: Array, labels: Array, key: Key
  ) -> tuple[Scalar, Aux]:
    """`(scalar, aux)`; the key is consumed.

    It is one key `[]`, or `[B]`: an image's own, which then draws the same noise wherever
    it is used.
    """


class Loss(NamedTuple):
  """A training loss, criterion(outputs(theta, adversary(images))); itself a `LossFn`.

  It is kept in parts because the Gauss-Newton matrix needs the cut at the logits, and the
  attack the cut at the images: `outputs` carries all of theta and of the noise,
  `criterion` only the logits' loss, and what `adversary` adds is constant to every
  derivative.
  """

  # `outputs(params, inputs, key) -> logits`, a pytree of arrays; the key is consumed.
  outputs: Callable[[Params, Any, Key], Any]
  # `criterion(logits, labels) -> (scalar, aux)`; aux holds the batch's "accuracy".
  criterion: Callable[[Any, Array], tuple[Scalar, Aux]]
  # `adversary(params, images, labels, key, strength) -> inputs`: the images attacked at
  # theta, a pytree for `outputs` in place of them, `x + delta` with constant deltas.
  # `strength` `[]` in [0, 1] is the share of the attack's radius that is used: its
  # warm-up. None: images are taken as they are.
  adversary: Callable[[Params, Array, Array, Key, Any], Any] | None = None
  # `convex(logits, labels) -> scalar`: convex in the logits, for the second derivatives
  # of a criterion that is not; None: the criterion is.
  convex: Callable[[Any, Array], Scalar] | None = None

  def __call__(
    self, params: Params, images: Array, labels: Array, key: Key, strength: Any = 1.0
  ) -> tuple[Scalar, Aux]:
    import jax  # Here: reading results takes this file without it.

    inputs = images
    if self.adversary is not None:
      # The same key on purpose: the images are attacked under the noise they train with.
      inputs = self.adversary(params, images, labels, jax.random.clone(key), strength)
    return self.criterion(self.outputs(params, inputs, key), labels)


class AugmentFn(Protocol):
  """A random change of training images `[B, H, W, C]`; the key is consumed."""

  def __call__(self, key: Key, images: Array, /) -> Array: ...


class AscentFn(Protocol):
  """The steps of an adversary at test time."""

  def __call__(
    self, step_size: Array | float, norm: str, /
  ) -> "optax.GradientTransformation":
    """A transformation of gradients into steps; `norm` is "linf" or "l2"."""


class ObjectiveFn(Protocol):
  """What the attacker minimises, on images of the class; the key is consumed."""

  def __call__(
    self, params: Params, images: Array, labels: Array, key: Key, /
  ) -> Scalar: ...


class UpperFn(Protocol):
  """An attacker's objective with its images and noise fixed."""

  def __call__(self, params: Params, poison: Array, /) -> Scalar: ...


class LowerLevel(NamedTuple):
  """The victim's problem on one batch with its noise fixed: a function of (theta, u)."""

  outputs: Callable[[Params, Array], Any]  # `(params, poison) -> logits`.
  criterion: Callable[[Any], Scalar]  # `logits -> scalar`.
  convex: Callable[[Any], Scalar] | None = None  # As a `Loss` has it.

  def __call__(self, params: Params, poison: Array) -> Scalar:
    return self.criterion(self.outputs(params, poison))


class MatvecFn(Protocol):
  """`v -> A v` with a symmetric matrix A over pytrees like the parameters."""

  def __call__(self, vector: Params, /) -> Params: ...


class Curvature(NamedTuple):
  """The second derivatives of a lower level at one (theta, u) that ApproxGrad takes."""

  matvec: MatvecFn  # The matrix A, in (theta, theta).
  lower: LowerLevel  # Its own derivative in (theta, u) goes with A.


class CurvatureFn(Protocol):
  """A choice of the matrix A, at (theta, u)."""

  def __call__(self, lower: LowerLevel, params: Params, poison: Array, /) -> Curvature: ...


class SolveInfo(NamedTuple):
  """How a linear solve went; every field is a `[]` array, None where a method has none."""

  num_steps: Array  # Steps that moved the solution, int32.
  num_products: Array  # Products with the matrix in all, int32: what the solve cost.
  relative_residual: Array | None  # |b - A x| / |b|, damping included; 0 where b is 0.
  negative_curvature: Array | None  # bool: a direction p with p'Ap <= 0 was met.
  min_curvature: Array | None  # The least p'Ap / p'p over the directions met; 0: none.


class SolveFn(Protocol):
  """A method for A x = b."""

  def __call__(
    self, matvec: MatvecFn, b: Params, start: Params | None, /
  ) -> tuple[Params, SolveInfo]:
    """`(x, info)`; x is like b.

    `start` is like b, a first guess, such as the last outer step's x (a warm start); None:
    zero.
    """


class HypergradientInfo(NamedTuple):
  """What a hypergradient says beside du."""

  solve: SolveInfo  # How the linear solve went.
  adjoint: Params | None  # p with A p = grad_theta f: the next one's warm start.


class HypergradientFn(Protocol):
  """The derivative of the upper level in the poison, through the lower level."""

  def __call__(
    self,
    upper: UpperFn,
    lower: LowerLevel,
    params: Params,
    poison: Array,
    start: Params | None,
    /,
  ) -> tuple[Array, HypergradientInfo]:
    """`(du, info)`, du like the poison; `start` is an earlier `info.adjoint`, or None."""


class Dataset(NamedTuple):
  """Images with their labels, on the host."""

  images: np.ndarray  # uint8 `[N, H, W, C]`.
  labels: np.ndarray  # int32 `[N]` in [0, K).


class Splits(NamedTuple):
  """A data set cut into the three parts of an experiment."""

  name: str
  num_classes: int
  train: Dataset  # The victim's training data; the attack changes its target class.
  validation: Dataset  # The attack's upper level, and all tuning.
  test: Dataset  # Certificates and accuracies that are reported; target points.
  description: str = ""  # What a result says about the data, as "CIFAR-10 (JPEG-75)".


class TrainingSet(NamedTuple):
  """What one row's victims are trained on: stored images, and which of them are there.

  An image keeps its position whatever is done to others, and with it its fixed noise.
  """

  images: np.ndarray  # uint8 `[M, H, W, C]`.
  labels: np.ndarray  # int32 `[M]` in [0, K).
  present: np.ndarray  # int64 `[n]`, rising positions; others are never drawn.


class Rows(NamedTuple):
  """The training sets of R rows, in arrays of one shape, for the device."""

  images: Array | np.ndarray  # uint8 `[R, M, H, W, C]`; black where a row stores fewer.
  labels: Array | np.ndarray  # int32 `[R, M]`.
  present: (
    Array | np.ndarray
  )  # int32 `[R, L]`, L the most of any row; filled up with a row's last.
  # int32 `[R]`: how many of `present` are a row's; None: L of every row.
  sizes: Array | np.ndarray | None


class Poison(NamedTuple):
  """A poison is data: what `poison/<name>.npz` holds, one array per field.

  Attributes:
    images: uint8 `[n, H, W, C]`: what the victim trains on.
    base_images: uint8 `[n, H, W, C]`: what they were made from; of one that was made from
      none, itself.
    labels: int32 `[n]`: what the victim is told that they are.
    base_labels: int32 `[n]`: of the base images.
    indices: int64 `[n]`: positions of the base images in the training split. -1: an
      inserted one has none there.
    inserted: bool `[n]`: put beside the training split; the others take the place of
      their base images.
    clean_label: whether `labels` are `base_labels`.
    epsilon: the budget in image units ([0, 1]).
    norm: "linf" or "l2", of one image's perturbation.
    target_class: what the attack is after.
    dataset: name of the data set, as `data.name`.
    sigma: noise std the attack assumed; 0 where none was.
    checksum: `arrays.checksum` of the training split that `indices` point into.
  """

  images: np.ndarray
  base_images: np.ndarray
  labels: np.ndarray
  base_labels: np.ndarray
  indices: np.ndarray
  inserted: np.ndarray
  clean_label: bool
  epsilon: float
  norm: str
  target_class: int
  dataset: str
  sigma: float
  checksum: str


class Tools(NamedTuple):
  """What a defence may use beside the training set; nothing of the attack."""

  model: Model  # Base classifier that victims are.
  # `train(training_set, key) -> params` of one victim; the key is consumed.
  train: Callable[[TrainingSet, Key], Params]
  validation: Dataset  # Trusted: no attack has changed it.
  num_classes: int


class DefenceReport(NamedTuple):
  """What a defence did, as positions in the training set that it was given, rising."""

  removed: np.ndarray  # int64: there before, and not after.
  relabelled: np.ndarray  # int64: there before and after, under another label.
  changed: np.ndarray  # int64: there before and after, as another image.
  values: Mapping[str, float]  # What else there is to say, by name.


class DefenceFn(Protocol):
  """A defence of the training set, between the poison and the victims."""

  def __call__(
    self, training_set: TrainingSet, key: Key, tools: Tools
  ) -> tuple[TrainingSet, DefenceReport]:
    """The set that victims are to be trained on, and what was done to it.

    Stored images stay in their places: it takes positions out of `present`, changes images
    or labels, and puts new ones behind the last. `data.training_sets` has the functions,
    and `difference` the report.

    Args:
      training_set: left as it is.
      key: consumed.
      tools: what else there is.
    """


class Certificate(NamedTuple):
  """What randomized smoothing says of one test point (Cohen et al., 2019)."""

  prediction: int  # The smoothed classifier's class, or -1: abstained.
  radius: float  # Certified l2 radius in image units; 0 where it abstained.
  counts: np.ndarray  # int64 `[K]`: votes of the samples that bound p_A.
