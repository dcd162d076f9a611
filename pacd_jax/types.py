"""The function contracts between rooms, and the records that most rooms pass on.

Read this file first. A record that one room alone defines, such as `train.Trainer`, stands
in that room.

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
else:  # Results can be read, and pages written, without JAX.
  Array = Any
Key = Array  # A typed PRNG key (`jax.random.key`).
Scalar = Array  # `[]` float32.
Params = Any  # A pytree of arrays: theta, the parameters of a base classifier.
Aux = dict[str, Array]  # Scalars to log beside a loss.
Layers = tuple[Any, ...]  # A network as layers with weights: of `bounds.layers`, in order.
# The rows that the code refers to by name: clean data, and the attack of the paper.
CLEAN, PACD = "clean", "pacd"


class InitFn(Protocol):
  """The initialisation of a base classifier."""

  def __call__(self, key: Key, image_shape: tuple[int, int, int], /) -> Params:
    """Returns initial parameters; `image_shape` is `(H, W, C)`; the key is consumed."""


class ApplyFn(Protocol):
  """A base classifier."""

  def __call__(self, params: Params, images: Array, /) -> Array:
    """Returns logits: float32 `[B, H, W, C]` -> float32 `[B, K]`.

    Images are in [0, 1], or are such images plus noise; noisy images are not clipped.
    """


class DescribeFn(Protocol):
  """The description of a base classifier by its layers."""

  def __call__(self, params: Params, /) -> Layers:
    """Returns its layers, whose weights are differentiable functions of the parameters.

    Images that pass them in turn (`bounds.layers.apply`) become the logits of its
    `ApplyFn`.
    """


class Model(NamedTuple):
  """A base classifier as pure functions."""

  init: InitFn
  apply: ApplyFn
  # What its last layer takes, float32 `[B, D]`, of the images that `apply` takes; None: it
  # shows none.
  features: ApplyFn | None = None
  # Its layers, for bounds of its logits; None: it has none, for the reason `undescribed`.
  describe: DescribeFn | None = None
  undescribed: str = ""
  # Images whose activations stay in a CPU's caches, as a victim's gradient takes them
  # (`models/microbatches.py`); 0: the whole batch is as fast, as on GPUs.
  microbatch_size: int = 0
  # A Hessian's products are faster by reverse over reverse than by forward over reverse.
  reverse_products: bool = False


class Drawn(NamedTuple):
  """Noise in the place of the key that it was drawn with."""

  noise: Array  # Standard normal, `[k, B, H, W, C]`; of a loss without draws, None.


class LossFn(Protocol):
  """A loss that a network is trained to minimise."""

  def __call__(
    self, params: Params, images: Array, labels: Array, key: Key
  ) -> tuple[Scalar, Aux]:
    """Returns `(scalar, aux)`; the key is consumed.

    The key is `[]`, one for the batch, or `[B]`, one for each image, which then gets the
    same noise wherever its key is used. A loss with `num_noise_draws` also takes `Drawn`.
    """


class Loss(NamedTuple):
  """A training loss, criterion(outputs(theta, adversary(images))); itself a `LossFn`.

  It is kept in three parts because the Gauss-Newton matrix needs the logits, and the attack
  the images: `outputs` has all of theta and of the noise, `criterion` is a function of the
  logits and labels alone, and the perturbations that `adversary` adds are constant in every
  derivative.
  """

  # `outputs(params, inputs, key) -> logits`, a pytree of arrays; the key is consumed.
  outputs: Callable[[Params, Any, Key], Any]
  # `criterion(logits, labels) -> (scalar, aux)`; aux holds the batch's "accuracy", of a
  # loss of classifiers.
  criterion: Callable[[Any, Array], tuple[Scalar, Aux]]
  # `adversary(params, images, labels, key, strength) -> inputs`: the images attacked at
  # theta, `x + delta` with constant deltas, as the pytree that `outputs` takes in their
  # place. `strength`, `[]` in [0, 1], is the share of the attack's radius that is used, for
  # its warm-up. None: the loss has no adversary.
  adversary: Callable[[Params, Array, Array, Key, Any], Any] | None = None
  # `convex(logits, labels) -> scalar`: a function convex in the logits whose second
  # derivatives replace those of a non-convex criterion; None: the criterion is convex.
  convex: Callable[[Any, Array], Scalar] | None = None
  # k, if the key is for `noise.draw(key, k, images)` alone, of the batch's images, and each
  # image is treated by itself: by `outputs`, by `adversary`, and by `criterion`, which with
  # its aux is a mean over images. A gradient can be taken in parts then; None: it cannot.
  num_noise_draws: int | None = None

  def __call__(
    self, params: Params, images: Array, labels: Array, key: Any, strength: Any = 1.0
  ) -> tuple[Scalar, Aux]:
    import jax  # Here, since results are read with this file but without JAX.

    inputs = images
    if self.adversary is not None:
      # The same key on purpose: images are attacked under the noise that they train with.
      same: Any = key if isinstance(key, Drawn) else jax.random.clone(key)
      inputs = self.adversary(params, images, labels, same, strength)
    return self.criterion(self.outputs(params, inputs, key), labels)


class AugmentFn(Protocol):
  """A random augmentation of training images `[B, H, W, C]`; the key is consumed."""

  def __call__(self, key: Key, images: Array, /) -> Array: ...


class Mixed(NamedTuple):
  """A batch whose images are mixtures of two; so is the loss of their labels."""

  images: Array  # `[B, H, W, C]`.
  partners: Array  # int32 `[B]`: the place in the batch of the other image of each.
  share: Scalar  # lam in [0, 1]: the weight of an image's own label; 1 - lam: the other's.

  def loss(self, loss: Loss) -> Loss:
    """A loss of these images: lam L(., labels) + (1 - lam) L(., the partners' labels).

    Auxiliary numbers are mixed likewise. The outputs, and so the noise, are those of
    `loss`, whose adversary must be None: it would see the images' own labels alone.
    """

    def mixed(function):
      if function is None:
        return None

      def of_both(logits, labels):
        import jax

        return jax.tree.map(
          lambda own, other: self.share * own + (1.0 - self.share) * other,
          function(logits, labels),
          function(logits, labels[self.partners]),
        )

      return of_both

    criterion = mixed(loss.criterion)
    assert loss.adversary is None and criterion is not None
    # Partners are places in the whole batch.
    return loss._replace(
      criterion=criterion, convex=mixed(loss.convex), num_noise_draws=None
    )


class MixFn(Protocol):
  """A random mixing of training images `[B, H, W, C]`; the key is consumed.

  The mixtures are linear in the images: partners and share are of the key and shape alone.
  """

  def __call__(self, key: Key, images: Array, /) -> Mixed: ...


class GradientFn(Protocol):
  """How a victim's gradient is computed, in the place of `jax.value_and_grad`."""

  def __call__(
    self,
    loss_fn: LossFn,
    params: Params,
    images: Array,
    labels: Array,
    key: Key,
    own_key: Key,
    /,
  ) -> tuple[tuple[Scalar, Aux], Params]:
    """Returns `((value, aux), gradient)`; the loss's key and its own are consumed."""


class TransformFn(Protocol):
  """A fixed change of every image by itself, of a training set or inside a classifier."""

  def __call__(self, images: Array, /) -> Array:
    """Returns images: float32 `[B, H, W, C]` -> the same shape, deterministic.

    Images are in [0, 1], or are such images plus noise. Where the change has no gradient,
    derivatives pass straight through.
    """


class TriggerFn(Protocol):
  """A backdoor's trigger: a fixed change of every image by itself."""

  def __call__(self, images: Array, /) -> Array:
    """Returns images: float32 `[B, H, W, C]` in [0, 1] -> the same, deterministic."""


class AscentFn(Protocol):
  """The step rule of an adversary at test time."""

  def __call__(
    self, step_size: Array | float, norm: str, /
  ) -> "optax.GradientTransformation":
    """Returns a transformation of gradients into steps; `norm` is "linf" or "l2"."""


class LogitsFn(Protocol):
  """A classifier with its parameters and noise fixed, as an attack at test time sees it."""

  def __call__(self, images: Array, /) -> Array:
    """Returns logits of k noisy copies: float32 `[B, H, W, C]` -> `[k, B, K]`.

    The classifier predicts the class with the largest mean softmax over the copies. The
    base classifier has one copy, without noise.
    """


class VerifyFn(Protocol):
  """A deterministic certificate of a base classifier's predictions, in balls of a norm."""

  def __call__(self, params: Params, images: Array, radii: Array, /) -> tuple[Array, Array]:
    """Returns `(predictions, holds)`, int `[B]` and bool `[B]`.

    Where `holds`, every image in the ball of that radius gets the prediction, which is the
    classifier's for the image itself; elsewhere nothing is known.

    Args:
      params: theta.
      images: the balls' centres, float32 `[B, H, W, C]` in [0, 1].
      radii: float32 `[B]`, at least 0, image units.
    """


class EvasionFn(Protocol):
  """An attack at test time: a pure function, and what it minimises or is bounded in."""

  @property
  def norm(self) -> str:
    """The norm of its perturbations: "linf" or "l2"."""
    ...

  @property
  def targeted(self) -> bool:
    """Whether labels are the classes that images are to get; else, those to leave."""
    ...

  @property
  def finds_least(self) -> bool:
    """Whether it looks for the least perturbation, instead of any within the radius."""
    ...

  def __call__(
    self, classifier: LogitsFn, images: Array, labels: Array, key: Key, radius: Any, /
  ) -> Array:
    """Returns perturbations delta, constants, `[B, H, W, C]` in image units.

    |delta|_norm <= radius, and x + delta is in [0, 1]. One that finds the least returns 0
    where it finds none within the radius; the others return what they end with, whether or
    not it fools the classifier.

    Args:
      classifier: what is attacked.
      images: x, float32 `[B, H, W, C]` in [0, 1].
      labels: int `[B]`.
      key: consumed, if it draws a start.
      radius: `[]` or `[B]`, at least 0, image units.
    """


class ObjectiveFn(Protocol):
  """The attacker's objective, minimised, on images of the class; the key is consumed."""

  def __call__(
    self, params: Params, images: Array, labels: Array, key: Key, /
  ) -> Scalar: ...


class PenaltyFn(Protocol):
  """A term of the attacker's objective that depends on the poison alone."""

  def __call__(self, poison: Array, base_images: Array, /) -> Scalar:
    """Returns the penalty of images `[p, H, W, C]`, made of clean ones of that shape."""


class UpperFn(Protocol):
  """An attacker's objective with its images and noise fixed: a function of (theta, u)."""

  def __call__(self, params: Params, poison: Array, /) -> Scalar: ...


class UpperLevel(NamedTuple):
  """An attacker's objective on one batch, an `UpperFn` that can be drawn anew."""

  function: UpperFn
  # `redraw(number)`: the same with other noise, by the number of the draw; None: it cannot
  # be drawn anew.
  redraw: Callable[[Any], UpperFn] | None = None

  def __call__(self, params: Params, poison: Array, /) -> Scalar:
    return self.function(params, poison)


class LowerLevel(NamedTuple):
  """The victim's problem on one batch with its noise fixed: a function of (theta, u)."""

  outputs: Callable[[Params, Array], Any]  # `(params, poison) -> logits`.
  criterion: Callable[[Any], Scalar]  # `logits -> scalar`.
  convex: Callable[[Any], Scalar] | None = None  # As in `Loss`, of the logits alone.
  redraw: Callable[[Any], "LowerLevel"] | None = None  # As in `UpperLevel`.
  reverse_products: bool = False  # As in `Model`.

  def __call__(self, params: Params, poison: Array) -> Scalar:
    return self.criterion(self.outputs(params, poison))


class MatvecFn(Protocol):
  """`v -> A v` with a symmetric matrix A over pytrees like the parameters."""

  def __call__(self, vector: Params, /) -> Params: ...


class Curvature(NamedTuple):
  """The second derivatives of a lower level at one (theta, u), for ApproxGrad."""

  matvec: MatvecFn  # The matrix A, in (theta, theta).
  lower: LowerLevel  # The function whose derivative in (theta, u) is consistent with A.


class CurvatureFn(Protocol):
  """A choice of the matrix A, at (theta, u)."""

  def __call__(self, lower: LowerLevel, params: Params, poison: Array, /) -> Curvature: ...


class SolveInfo(NamedTuple):
  """A record of a linear solve: `[]` arrays, or None where a method has no such number."""

  num_steps: Array  # Steps that moved the solution, int32.
  num_products: Array  # All products with the matrix, int32: the cost of the solve.
  # |b - A x| / |b|, damping included; |A x| where b is 0, so 0 unless a start was given.
  relative_residual: Array | None
  negative_curvature: Array | None  # bool: a direction p with p'Ap <= 0 was met.
  min_curvature: Array | None  # The least p'Ap / p'p over the directions met; 0 if none.


class SolveFn(Protocol):
  """A method for A x = b."""

  def __call__(
    self, matvec: MatvecFn, b: Params, start: Params | None, /
  ) -> tuple[Params, SolveInfo]:
    """Returns `(x, info)`; x has the structure and shapes of b.

    `start` is the first guess, shaped like b, such as x of the previous outer step (a warm
    start); None: zero.
    """


class HypergradientInfo(NamedTuple):
  """The outputs of a hypergradient beside du."""

  solve: SolveInfo  # The record of the linear solve.
  adjoint: Params | None  # p with A p = grad_theta f; None where there is no such p.
  # What the next solve may start from, where that is more than the adjoint.
  carry: Any = None


class HypergradientFn(Protocol):
  """The derivative of the upper level in the poison, through the lower level."""

  def __call__(
    self,
    upper: UpperLevel,
    lower: LowerLevel,
    params: Params,
    poison: Array,
    start: Any,
    /,
  ) -> tuple[Array, HypergradientInfo]:
    """Returns `(du, info)`; `start` is an earlier `info.adjoint` or carry, or None.

    du is shaped like the poison.
    """


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
  test: Dataset  # Reported certificates and accuracies; target points.
  description: str = ""  # What results call the data, such as "CIFAR-10 (JPEG-75)".

  def named(self, split: str) -> Dataset:
    """The split called "train", "validation" or "test"."""
    return {"train": self.train, "validation": self.validation, "test": self.test}[split]


class TrainingSet(NamedTuple):
  """The training set of one row's victims: stored images, and which of them are present.

  An image keeps its position, and thereby its fixed noise, when others are changed, added
  or removed.
  """

  images: np.ndarray  # uint8 `[M, H, W, C]`.
  labels: np.ndarray  # int32 `[M]` in [0, K).
  present: np.ndarray  # int64 `[n]`, positions in rising order; others are never drawn.


class Rows(NamedTuple):
  """The training sets of R rows, padded to arrays of one shape, for the device.

  With `source`, R sets are drawn from the images of fewer rows, as the parts of an
  ensemble's training set are.
  """

  images: Array | np.ndarray  # uint8 `[R, M, H, W, C]`; padded with black images.
  labels: Array | np.ndarray  # int32 `[R, M]`.
  present: (
    Array | np.ndarray
  )  # int32 `[R, L]`, L the largest number in a row; padded with the row's last position.
  # int32 `[R]`: how many entries of `present` are a row's own; None: L in every row.
  sizes: Array | np.ndarray | None
  # int32 `[R]`: which row of `images` and `labels` a set is drawn from; None: its own.
  source: Array | np.ndarray | None = None


class Goal(NamedTuple):
  """What an attacker wants of test images: that victims give them a label."""

  label: int  # In [0, K); -1: any label but an image's own.
  # Positions in the test split; empty: all images of other classes than `label`.
  points: tuple[int, ...] = ()
  # JSON of the trigger that they get first, `{"name": ..., "options": {...}}`; "": none.
  trigger: str = ""


class Poison(NamedTuple):
  """A poison: the contents of `poison/<name>.npz`, one array per field.

  Attributes:
    images: uint8 `[n, H, W, C]`: the images that the victim trains on.
    base_images: uint8 `[n, H, W, C]`: the images that they were made from; an image that
      was made from none is its own base image.
    labels: int32 `[n]`: the labels that the victim trains on.
    base_labels: int32 `[n]`: the labels of the base images.
    indices: int64 `[n]`: positions of the base images in the training split; -1 for an
      inserted image whose base image is not in it.
    inserted: bool `[n]`: whether an image is added to the training split; the others
      replace their base images.
    clean_label: whether `labels` equal `base_labels`.
    epsilon: the budget in image units ([0, 1]).
    norm: "linf" or "l2", the norm of one image's perturbation.
    target_class: the class that is attacked.
    dataset: name of the data set, as in `data.name`.
    sigma: noise std that the attack assumed; 0 if it assumed no noise.
    checksum: `arrays.checksum` of the training split that `indices` refer to.
    triggered: bool `[n]`: whether an image carries the trigger of the goal.
    goal: what the attacker wants of test images; None: nothing of single ones.
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
  triggered: np.ndarray
  goal: Goal | None


class Tools(NamedTuple):
  """The tools of a defence beside the training set; none is specific to the attack."""

  model: Model  # Base classifier of the victims.
  # `train(training_set, key) -> params` of one victim; the key is consumed.
  train: Callable[[TrainingSet, Key], Params]
  validation: Dataset  # Trusted: not poisoned.
  num_classes: int


class DefenceReport(NamedTuple):
  """The changes by a defence: rising positions in the training set that it was given."""

  removed: np.ndarray  # int64: present before, not after.
  relabelled: np.ndarray  # int64: present before and after, with another label.
  changed: np.ndarray  # int64: present before and after, with another image.
  values: Mapping[str, float]  # Further numbers to report, by name.


class DefenceFn(Protocol):
  """A defence of the training set, between the poison and the victims."""

  def __call__(
    self, training_set: TrainingSet, key: Key, tools: Tools
  ) -> tuple[TrainingSet, DefenceReport]:
    """Returns the set that victims are to be trained on, and what was done to it.

    Stored images keep their positions: a defence takes positions out of `present`, changes
    images or labels, and appends new ones. `data.training_sets` has functions for that, and
    its `difference` makes the report.

    Args:
      training_set: not modified.
      key: consumed.
      tools: what the defence may use besides.
    """


class Certificate(NamedTuple):
  """A certificate of one test point, as of randomized smoothing (Cohen et al., 2019)."""

  prediction: int  # The certified classifier's class, or -1 if it abstained.
  radius: float  # Certified radius in image units; 0 if it abstained.
  counts: np.ndarray  # int64 `[K]`: votes of the samples that bound p_A; `[0]` if none.
