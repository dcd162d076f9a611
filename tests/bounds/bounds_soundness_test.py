"""No point of a ball violates a bound; bounds are exact where they can be."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import random_networks
from absl.testing import absltest, parameterized
from scipy import optimize

from pacd_jax import evasion
from pacd_jax.bounds import interval, layers, linear, margins

_LABELS = jnp.array([0, 1, 2])
# Cheap ones that have every kind of layer together; the long tests have all.
_CASES = (("pooled", "linf"), ("residual", "l2"))
_EPSILON = {"linf": 0.03, "l2": 0.15}
# Every method with the slopes that it has.
_WAYS = (
  ("ibp", "zero"),
  *((method, slopes) for method in ("crown_ibp", "crown") for slopes in linear.SLOPES),
)
_FEW = (("ibp", "zero"), ("crown_ibp", "adaptive"), ("crown", "zero"))  # Cheap to compile.


@functools.partial(jax.jit, static_argnames=("norm", "method", "slopes", "box"))
def _bounds(network, images, epsilon, labels, norm, method, slopes, box=True):
  ball = interval.Ball(images, epsilon, norm, box)
  return margins.bounds(network, ball, labels, method=method, slopes=slopes)


@functools.partial(jax.jit, static_argnames=("norm", "ways"))
def _by_ways(network, images, epsilon, norm, ways=_FEW):
  ball = interval.Ball(images, epsilon, norm)
  return {
    way: margins.bounds(network, ball, _LABELS, method=way[0], slopes=way[1])
    for way in ways
  }


@functools.partial(jax.jit, static_argnames="norm")
def _logits(network, images, epsilon, norm):
  return linear.relax(network, interval.Ball(images, epsilon, norm))[1]


@functools.partial(jax.jit, static_argnames=("norm", "number"))
def _least_found(network, image, label, epsilon, norm, number, key):
  """The least z_y - z_j over random points and PGD's, `[K]`."""

  def differences(points):
    logits = layers.apply(network, points)
    return logits[:, label, None] - logits

  drawn, start = jax.random.split(key)
  found = differences(random_networks.points(drawn, image, epsilon, norm, number)).min(
    axis=0
  )
  attack = evasion.Pgd(epsilon=1.0, norm=norm, num_steps=20)

  def worst(other):
    images = image[None]
    delta = evasion.uniform_in_ball(attack, jax.random.clone(start), images, epsilon)
    delta = evasion.pgd(
      attack,
      lambda x: -differences(x)[:, other].sum(),
      images,
      start=delta,
      strength=epsilon,
    )
    return differences(images + delta)[0, other]

  # The same start for each class.
  by_pgd = jax.lax.map(worst, jnp.arange(random_networks.NUM_CLASSES))
  return jnp.minimum(found, by_pgd)


class SoundnessTest(parameterized.TestCase):
  @parameterized.parameters(*_CASES)
  def test_no_point_violates_a_bound(self, kind, norm):
    self._assert_sound(kind, norm, seed=0, number=2000)

  @parameterized.parameters(*range(25))
  @pytest.mark.long
  def test_no_point_of_many_networks_violates_a_bound(self, seed):
    """100 networks with 10,000 points each, and 20 steps of PGD."""
    for kind in random_networks.KINDS:
      for norm in _EPSILON:
        self._assert_sound(kind, norm, seed + 1, number=10_000, ways=_WAYS)

  def _assert_sound(self, kind, norm, seed, number, ways=_FEW):
    network = random_networks.network(kind, seed)
    images, epsilon = random_networks.images(seed, 3), _EPSILON[norm]
    by_ways = _by_ways(network, images, epsilon, norm, ways)
    for place in range(3):
      image, label, key = images[place], _LABELS[place], jax.random.key(seed + 100 * place)
      found = _least_found(network, image, label, epsilon, norm, number, key)
      for way, bounds in by_ways.items():
        for each in jax.tree.leaves(bounds):
          np.testing.assert_array_less(each[place], found + 1e-4, err_msg=str(way))
    of_ibp = by_ways["ibp", "zero"].ibp
    for way, bounds in by_ways.items():
      np.testing.assert_array_less(of_ibp, bounds.best + 1e-5, err_msg=str(way))
      if way[1] == "zero" and way[0] != "ibp":
        np.testing.assert_array_less(of_ibp, bounds.crown + 1e-4, err_msg=str(way))

  @parameterized.parameters(*_CASES)
  def test_without_a_radius_bounds_are_the_margins(self, kind, norm):
    network, images = random_networks.network(kind, 7), random_networks.images(7, 3)
    logits = layers.apply(network, images)
    exact = jnp.take_along_axis(logits, _LABELS[:, None], axis=1) - logits
    for bounds in _by_ways(network, images, 0.0, norm).values():
      for each in jax.tree.leaves(bounds):
        np.testing.assert_allclose(each, exact, atol=2e-5)

  def test_bounds_are_nested_in_the_radius(self):
    for kind, norm in _CASES:
      network, images = random_networks.network(kind, 3), random_networks.images(3, 3)
      ways = [_by_ways(network, images, eps, norm) for eps in (0.01, 0.03, 0.3)]
      for way in (("ibp", "zero"), ("crown", "zero")):
        for small, large in itertools.pairwise(ways):
          np.testing.assert_array_less(large[way].best, small[way].best + 1e-5)

  @parameterized.parameters("linf", "l2")
  def test_affine_networks_are_exact(self, norm):
    """w x + b - eps |w|, with the dual norm; here through a convolution and a mean."""
    parts = random_networks.network("patches", 1)
    network = (*parts[:2], layers.SpaceMean(), parts[-1])
    images = random_networks.images(1, 3)
    rows = jax.jacobian(lambda x: layers.apply(network, x[None])[0])(images[0])
    rows = rows.reshape(3, -1)
    logits = layers.apply(network, images)
    for place, label in enumerate(_LABELS):
      w = rows[label][None] - rows
      size = jnp.abs(w).sum(1) if norm == "linf" else jnp.sqrt((w**2).sum(1))
      exact = logits[place, label] - logits[place] - 0.3 * size
      bounds = _bounds(network, images, 0.3, _LABELS, norm, "crown_ibp", "zero", box=False)
      np.testing.assert_allclose(bounds.crown[place], exact, atol=1e-5)
    alone = (layers.Flatten(), layers.Dense(rows.T, jnp.zeros(3)))
    bounds = _bounds(alone, images, 0.3, _LABELS, norm, "crown_ibp", "zero", box=False)
    np.testing.assert_allclose(bounds.ibp, bounds.crown, atol=1e-5)
    np.testing.assert_allclose(
      bounds.ibp[2],
      exact - (logits[2, 2] - logits[2]) + (images[2].ravel() @ w.T),
      atol=1e-5,
    )

  def test_linear_bounds_are_exact_while_all_relus_are_stable(self):
    network, images = random_networks.network("dense", 2), random_networks.images(2, 3)
    epsilon = 1e-4
    for image, label in zip(images, _LABELS, strict=True):
      steps, _ = linear.relax(network, interval.Ball(image[None], epsilon))
      for step in steps:
        if step.known is not None:
          is_stable = (step.known.lower > 0.0) | (step.known.upper < 0.0)
          self.assertTrue(bool(is_stable.all()))
      jacobian = jax.jacobian(lambda x: layers.apply(network, x[None])[0])(image)
      rows, logits = jacobian.reshape(3, -1), layers.apply(network, image[None])[0]
      w = rows[label][None] - rows
      exact = logits[label] - logits - epsilon * jnp.abs(w).sum(1)
      given = image[None], epsilon, label[None], "linf", "crown_ibp", "adaptive", False
      found = _bounds(network, *given).crown[0]
      np.testing.assert_allclose(found, exact, atol=1e-5)

  def test_folding_is_never_looser(self):
    for kind, norm in _CASES:
      network, images = random_networks.network(kind, 5), random_networks.images(5, 3)
      logits = _logits(network, images, 0.05, norm)
      own = jnp.take_along_axis(logits.lower, _LABELS[:, None], axis=1)
      not_folded = own - logits.upper
      folded = _by_ways(network, images, 0.05, norm)["ibp", "zero"].ibp
      is_other = ~jax.nn.one_hot(_LABELS, 3, dtype=bool)
      gain = np.asarray(folded - not_folded)[np.asarray(is_other)]
      self.assertGreaterEqual(gain.min(), -1e-5)
      self.assertGreater(gain.max(), 0.01)

  def test_a_ball_cut_with_the_box_is_never_looser(self):
    network = random_networks.network("dense", 4)
    images = jnp.round(random_networks.images(4, 3))  # All pixels at the box's faces.
    cut, whole = (
      _bounds(network, images, 0.1, _LABELS, "linf", "crown_ibp", "zero", box)
      for box in (True, False)
    )
    for better, worse in zip(cut, whole, strict=True):
      self.assertGreaterEqual(float((better - worse).min()), -1e-6)
      self.assertGreater(float((better - worse).max()), 0.01)


class ExactTest(parameterized.TestCase):
  """The exact minimum, by a linear programme for each pattern of active ReLUs."""

  @parameterized.parameters(0, 1, 2)
  def test_bounds_are_under_the_exact_minimum(self, seed):
    network = random_networks.dense_net(seed, (4, 3, 3, 2))
    image = np.random.default_rng(seed).uniform(size=(1, 2, 2, 1)).astype(np.float32)
    label = int(layers.apply(network, jnp.asarray(image))[0].argmax())
    for epsilon in (0.1, 0.4):
      exact = _exact(network, image.ravel(), epsilon, label)
      gaps = {}
      for method, slopes in _WAYS:
        given = jnp.asarray(image), epsilon, jnp.array([label]), "linf", method, slopes
        best = _bounds(network, *given).best[0, 1 - label]
        self.assertLess(float(best), exact + 1e-5, (method, slopes, epsilon))
        gaps[method, slopes] = exact - float(best)
      least = min(gaps.values())  # The enumeration is of the same problem.
      self.assertLess(least, 0.5 * gaps["ibp", "zero"] + 1e-4)


def _exact(network, image, epsilon, label):
  """min z_y - z_j over |x - image|_inf <= epsilon in [0, 1], of two classes."""
  dense = [
    tuple(np.asarray(array, np.float64) for array in (layer.kernel, layer.bias))
    for layer in network
    if isinstance(layer, layers.Dense)
  ]
  box = np.stack([np.maximum(image - epsilon, 0), np.minimum(image + epsilon, 1)], 1)
  least = np.inf
  units = [len(bias) for _, bias in dense[:-1]]
  for pattern in itertools.product((0.0, 1.0), repeat=sum(units)):
    active = np.split(np.array(pattern), np.cumsum(units)[:-1])
    w, b = np.eye(len(image)), np.zeros(len(image))  # x -> activations on this pattern.
    rows, limits = [], []
    for (kernel, bias), on in zip(dense[:-1], active, strict=True):
      w, b = w @ kernel, b @ kernel + bias
      sign = 1.0 - 2.0 * on  # on: -(w x + b) <= 0.
      rows.append((w * sign).T)
      limits.append(-b * sign)
      w, b = w * on, b * on
    kernel, bias = dense[-1]
    w, b = w @ kernel, b @ kernel + bias
    objective, constant = (part[..., label] - part[..., 1 - label] for part in (w, b))
    solved = optimize.linprog(
      objective, A_ub=np.concatenate(rows), b_ub=np.concatenate(limits), bounds=box
    )
    if solved.status == 0:
      least = min(least, solved.fun + constant)
  return least


if __name__ == "__main__":
  absltest.main()
