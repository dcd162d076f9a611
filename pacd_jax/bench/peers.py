"""The same work in PyTorch, for `make bench`: float32, on every core of the CPU.

Certification, training and the attack's outer step on the paper's MNIST network, as a
PyTorch user writes them; `check.py` compares each with the package.
PyTorch is an extra (`pip install -e '.[bench]'`) that only this file imports.
"""

import copy
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from pacd_jax import types
from pacd_jax.attacks import problem
from pacd_jax.bench import work
from pacd_jax.models import torch_layout

try:
  import torch
  from torch import nn
except ModuleNotFoundError:  # `make bench` then does without.
  torch = cast(Any, None)

_NUM_CLASSES = 10


def _tensors(tree: types.Params) -> list:
  """A tree like the parameters as tensors, in the order and layout of `make_network`'s."""
  arrays = torch_layout.to_torch(tree, work.IMAGE_SHAPE[-1]).values()
  return [torch.tensor(array) for array in arrays]


def _flat(tensors):
  return torch.cat([tensor.reshape(-1) for tensor in tensors])


def flatten(tree: types.Params):
  """A tree like the network's parameters as one vector, in the order of PyTorch's."""
  return _flat(_tensors(tree))


def without_compiler() -> str:
  """Why `torch.compile` does not run here, in a line; "": it does."""
  try:
    torch.compile(torch.square)(torch.ones(2))
  except Exception as error:  # Of the compiler, of PyTorch, or of what it imports.
    return f"{type(error).__name__}: {error}".splitlines()[0]
  return ""


def make_network(
  params: types.Params, *, channels_last: bool = False, compiled: bool = False
):
  """The "mnist_cnn" of `networks.py` as a module, with these parameters.

  Without `channels_last`, its kernels have PyTorch's usual layout; with it, one that is
  faster on a CPU and seldom used. `compiled`, it is `torch.compile`'s, for fixed shapes.
  """
  network = nn.Sequential(
    nn.Conv2d(1, 20, 5),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(20, 50, 5),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(800, 500),
    nn.ReLU(),
    nn.Linear(500, _NUM_CLASSES),
  )
  with torch.no_grad():
    for parameter, tensor in zip(network.parameters(), _tensors(params), strict=True):
      parameter.copy_(tensor)
  if channels_last:
    network = network.to(memory_format=torch.channels_last)
  if compiled:
    torch.compiler.reset()  # Shapes of other networks count towards its limit.
    return torch.compile(network, dynamic=False)
  return network


def to_nchw(images: types.Array | np.ndarray):
  """`[..., H, W, C]` to `[..., C, H, W]`."""
  return torch.tensor(np.moveaxis(np.asarray(images), -1, -3).copy())


def to_labels(labels: types.Array):
  return torch.tensor(np.asarray(labels), dtype=torch.int64)


def certify_loop(
  params: types.Params,
  image: types.Array | np.ndarray,
  *,
  sigma: float,
  n0: int = 100,
  n: int = 10_000,
  batch_size: int = 1000,
  **layout: bool,
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
  """Votes of n0 and of n noisy copies of one image `[H, W, C]`.

  The algorithm is that of Cohen et al. (2019), github.com/locuslab/smoothing: batch by
  batch, with each prediction counted on the host. `layout` is for `make_network`.
  """
  network, x = make_network(params, **layout), to_nchw(image)

  @torch.no_grad()
  def sample(num_samples):
    counts = np.zeros(_NUM_CLASSES, np.int64)
    for start in range(0, num_samples, batch_size):
      batch = x.repeat(min(batch_size, num_samples - start), 1, 1, 1)
      noise = torch.randn_like(batch) * sigma
      for prediction in network(batch + noise).argmax(1).numpy():
        counts[prediction] += 1
    return counts

  return lambda: (sample(n0), sample(n))


def _backward(network, images, labels) -> None:
  """Leaves the gradient of the mean cross-entropy in the parameters' `grad`."""
  network.zero_grad()
  nn.functional.cross_entropy(network(images), labels).backward()


def victim_step(
  params: types.Params,
  images: types.Array,
  labels: types.Array,
  *,
  sigma: float,
  learning_rate: float | None = 1e-3,
  **layout: bool,
) -> Callable[[], list]:
  """Gradients of Gaussian augmentation's loss on one batch, and Adam's step along them.

  Each call draws fresh noise and starts from the parameters that the last call left.
  Without a learning rate, it takes the gradients alone. `layout` is for `make_network`.
  """
  network = make_network(params, **layout)
  images, labels = to_nchw(images), to_labels(labels)
  if learning_rate:
    adam = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)

  def step():
    _backward(network, images + sigma * torch.randn_like(images), labels)
    if learning_rate:
      adam.step()
    return [parameter.grad for parameter in network.parameters()]

  return step


def _average_certified_radius(network, images, labels, noise, setting, margin=1e-3):
  """The soft ACR of `smoothing.py`; `noise` is `[k, B, C, H, W]` of unit variance."""
  noisy = (images + setting.sigma * noise).flatten(0, 1)
  probs = torch.softmax(setting.inverse_temperature * network(noisy), dim=1)
  probs = probs.unflatten(0, noise.shape[:2]).mean(dim=0)
  is_label = nn.functional.one_hot(labels, probs.shape[1]).bool()
  p = torch.stack([probs[is_label], probs.masked_fill(is_label, -1.0).amax(dim=1)])
  q_label, q_other = torch.special.ndtri((1.0 - 2.0 * margin) * p + margin)
  return (0.5 * setting.sigma * torch.relu(q_label - q_other)).mean()


def lower_level(network, images, labels, curvature: str):
  """The mean cross-entropy's gradient with its graph, and v -> A v by double backward."""
  parameters = list(network.parameters())
  logits = network(images)
  loss = nn.functional.cross_entropy(logits, labels)
  gradient = _flat(torch.autograd.grad(loss, parameters, create_graph=True))
  if curvature == "hessian":

    def product(v):
      return _flat(torch.autograd.grad(gradient, parameters, v, retain_graph=True))

    return gradient, product

  # J'w is linear in w, so its own transposed derivative is J.
  w = torch.zeros_like(logits, requires_grad=True)
  pulled = _flat(torch.autograd.grad(logits, parameters, w, create_graph=True))
  probs = torch.softmax(logits.detach(), dim=1)

  def product(v):
    (jv,) = torch.autograd.grad(pulled, w, v, retain_graph=True)
    jv = probs * (jv - (probs * jv).sum(dim=1, keepdim=True)) / len(logits)
    return _flat(torch.autograd.grad(logits, parameters, jv, retain_graph=True))

  return gradient, product


def _conjugate_gradient(product, b, num_steps: int):
  """The recurrence of `linear_solve.py`, with its stop at negative curvature."""
  x, residual, direction, r_dot_r = torch.zeros_like(b), b, b, b @ b
  for step in range(num_steps):
    a_p = product(direction)
    p_a_p = direction @ a_p
    if not p_a_p > 0:
      return x if step else b
    a = r_dot_r / p_a_p
    x = x + a * direction
    residual = residual - a * a_p
    last, r_dot_r = r_dot_r, residual @ residual
    direction = residual + (r_dot_r / last) * direction
  return x


def attack_step(
  params: types.Params,
  attack_data: problem.AttackData,
  setting: work.Setting,
  draw: Callable | None = None,
) -> Callable[[], tuple]:
  """One outer step of Algorithm 1 (`attacks/pacd.py`) from clean images and `params`.

  All of `attack_data` is one batch. The package's solver takes one product more than
  `solver_steps`, for its record; this one does not.

  Args:
    params: the surrogate's, before its `lower_steps` of Adam; the same in every call.
    attack_data: clean, target and validation images.
    setting: the step's setting.
    draw: makes unit noise like a tensor, `torch.randn_like` by default.

  Returns:
    `step() -> (poisoned images, du, theta)`, all the parameters as one vector.
  """
  draw = draw or torch.randn_like
  start = make_network(params)
  clean, base, val = map(to_nchw, attack_data[::2])
  clean_labels, base_labels, val_labels = map(to_labels, attack_data[1::2])
  labels = torch.cat([clean_labels, base_labels])

  def step():
    network = copy.deepcopy(start)
    parameters = list(network.parameters())
    adam = torch.optim.Adam(parameters, lr=setting.learning_rate, fused=True)

    # theta: T1 steps of the victim's training.
    images = torch.cat([clean, base])
    for _ in range(setting.lower_steps):
      _backward(network, images + setting.sigma * draw(images), labels)
      adam.step()

    # p: the curvature's inverse times the upper level's gradient.
    noise = draw(val.expand(setting.num_noise_samples, *val.shape))
    upper = _average_certified_radius(network, val, val_labels, noise, setting)
    b = _flat(torch.autograd.grad(upper, parameters))
    poison = base.clone().requires_grad_()
    noisy = torch.cat([clean, poison]) + setting.sigma * draw(images)
    gradient, product = lower_level(network, noisy, labels, setting.curvature)

    def damped(v):
      return product(v) + setting.damping * v

    p = _conjugate_gradient(damped, b, setting.solver_steps)

    # u: one step down, back into the ball and the box.
    du = -torch.autograd.grad(gradient, poison, p)[0]
    delta = (-setting.step_size * du.sign()).clamp(-setting.epsilon, setting.epsilon)
    return (base + delta).clamp(0.0, 1.0), du, _flat(parameters).detach()

  return step
