"""No point of a ball violates a bound; bounds are exact where they can be."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import long
import numpy as np
import optax
import pytest
import random_networks
from absl.testing import absltest, parameterized
from scipy import optimize

from pacd_jax import evasion, types
from pacd_jax.bounds import interval, layers, linear, margins, training
from pacd_jax.models import convolution

_LABELS = jnp.array([0, 1, 2])
# Cheap ones that have every kind of layer together; the long tests have all.
_CASES = (("pooled", "linf"), ("residual", "l2"))
_EPSILON = {"linf": 0.03, "l2": 0.15}
# Every method with the slopes that it has.
_WAYS = (
  ("ibp", "zero"),
  *((method, slopes) for method in ("crown_ibp", "crown") for slopes in linear.SLOPES),
)
# Cheap to compile.
_FEW = (("ibp", "zero"), ("crown_ibp", "zero"), ("crown", "adaptive"))
_NESTED = (("ibp", "zero"), ("crown_ibp", "zero"), ("crown", "zero"))


@functools.partial(jax.jit, static_argnames=("norm", "method", "slopes", "box"))
def _bounds(network, images, epsilon, labels, norm, method, slopes, box=True):
  ball = interval.Ball(images, epsilon, norm, box)
  return margins.bounds(network, ball, labels, method=method, slopes=slopes)


@functools.partial(jax.jit, static_argnames=("norm", "ways", "box"))
def _by_ways(network, images, epsilon, norm, ways=_FEW, box=True):
  ball = interval.Ball(images, epsilon, norm, box)
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
  @long.after(1)
  def test_no_point_violates_a_bound(self, kind, norm):
    network = random_networks.network(kind, 0)
    self._assert_sound(network, norm, seed=0, number=2000)

  @pytest.mark.long
  def test_no_point_violates_a_bound_of_a_trained_network(self):
    images, labels = random_networks.images(9, 12), jnp.arange(12) % 3
    model = types.Model(lambda key, shape: None, layers.apply, describe=lambda p: p)
    loss = training.ibp(model, epsilon=_EPSILON["linf"])
    optimiser = optax.adam(0.01)

    def step(_, carry):
      network, state = carry
      grads = jax.grad(lambda p: loss(p, images, labels, jax.random.key(0))[0])(network)
      updates, state = optimiser.update(grads, state)
      return optax.apply_updates(network, updates), state

    start = random_networks.network("dense", 9)
    network, _ = jax.jit(lambda p: jax.lax.fori_loop(0, 30, step, (p, optimiser.init(p))))(
      start
    )
    losses = [loss(p, images, labels, jax.random.key(0))[0] for p in (start, network)]
    self.assertLess(losses[1], 0.9 * losses[0])
    self._assert_sound(network, "linf", seed=9, number=2000)

  @parameterized.parameters("l2", "linf")
  @long.after(1)
  @pytest.mark.long
  def test_no_point_out_of_the_box_violates_a_bound(self, norm):
    """An l2 ball is never cut, and an l_inf ball only with `box`."""
    network = random_networks.network("dense", 6)
    images = jnp.round(random_networks.images(6, 3))  # All pixels at the box's faces.
    epsilon = 4 * _EPSILON[norm]
    by_ways = _by_ways(network, images, epsilon, norm, box=norm == "l2")
    steps = jax.random.normal(jax.random.key(6), (5000, *images.shape), jnp.float32)
    if norm == "linf":
      steps = jnp.sign(steps)
    else:
      steps /= jnp.sqrt((steps**2).sum((2, 3, 4), keepdims=True))
    points = images[None] + epsilon * steps
    self.assertGreater(float(((points < 0.0) | (points > 1.0)).mean()), 0.4)
    logits = layers.apply(network, points.reshape(-1, *images.shape[1:]))
    logits = logits.reshape(5000, 3, -1)
    own = jnp.take_along_axis(logits, _LABELS[None, :, None], axis=2)
    found = (own - logits).min(axis=0)
    for way, bounds in by_ways.items():
      for each in jax.tree.leaves(bounds):
        np.testing.assert_array_less(each, found + 1e-4, err_msg=str(way))

  @parameterized.parameters(*range(25))
  @pytest.mark.long
  def test_no_point_of_many_networks_violates_a_bound(self, seed):
    """100 networks with 10,000 points each, and 20 steps of PGD."""
    for kind in random_networks.KINDS:
      for norm in _EPSILON:
        network = random_networks.network(kind, seed + 1)
        self._assert_sound(network, norm, seed + 1, number=10_000, ways=_WAYS)

  def _assert_sound(self, network, norm, seed, number, ways=_FEW):
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
      if way[1] == "zero" and way[0] != "ibp":
        np.testing.assert_array_less(of_ibp, bounds.crown + 1e-4, err_msg=str(way))

  @parameterized.parameters(*_CASES)
  @long.after(1)
  def test_without_a_radius_bounds_are_the_margins(self, kind, norm):
    network, images = random_networks.network(kind, 7), random_networks.images(7, 3)
    logits = layers.apply(network, images)
    exact = jnp.take_along_axis(logits, _LABELS[:, None], axis=1) - logits
    for bounds in _by_ways(network, images, 0.0, norm).values():
      for each in jax.tree.leaves(bounds):
        np.testing.assert_allclose(each, exact, atol=2e-5)

  @parameterized.parameters(
    ("dense", "linf", _NESTED), ("patches", "l2", _NESTED), *((*c, _FEW) for c in _CASES)
  )
  @long.after(1)
  def test_bounds_are_nested_in_the_radius(self, kind, norm, ways):
    """IBP's of every network, and with slopes `zero` without max-pooling."""
    network, images = random_networks.network(kind, 3), random_networks.images(3, 3)
    radii = (0.01, 0.02, 0.03, 0.1, 0.3)
    found = [_by_ways(network, images, eps, norm, ways) for eps in radii]
    for way in ways if ways == _NESTED else _NESTED[:1]:
      for small, large in itertools.pairwise(found):
        pairs = zip(*map(jax.tree.leaves, (small[way], large[way])), strict=True)
        for better, worse in pairs:
          np.testing.assert_array_less(worse, better + 1e-5, err_msg=str(way))

  def test_lower_lines_of_a_relu_are_their_closed_forms(self):
    """On [-1, 2]; the upper line ends at 2 with all."""
    ball = interval.Ball(jnp.full((1, 1, 1, 1), 0.5), 1.5, box=False)
    steps, region = linear.relax((layers.Relu(),), ball)
    np.testing.assert_allclose(jnp.stack(region).ravel(), [0.0, 2.0], atol=1e-6)
    a = jnp.array([1.0, -1.0]).reshape(2, 1, 1, 1, 1)
    for slopes, lower in (("zero", 0.0), ("adaptive", -1.0), ("parallel", -2.0 / 3.0)):
      found = linear.least(steps, ball, (a, jnp.zeros((2, 1))), slopes)
      np.testing.assert_allclose(found[:, 0], [lower, -2.0], atol=1e-6, err_msg=slopes)

  def test_bounds_with_parallel_lines_are_not_nested(self):
    """max(x, 0) - 0.625 x around 0.5: alpha is 0.75 on the smaller ball, then 0.625."""
    network = (
      layers.Flatten(),
      layers.Dense(jnp.array([[1.0, 1.0]]), jnp.array([0.0, 10.0])),
      layers.Relu(),
      layers.Dense(jnp.array([[1.0, 0.0], [-0.625, 0.0]]), jnp.array([6.25, 0.0])),
    )
    given = jnp.full((1, 1, 1, 1), 0.5), jnp.array([0]), "crown_ibp", "parallel"
    for epsilon, expected in ((1.0, -0.0625), (2.0, 0.0)):
      image, labels, *way = given
      best = _bounds(network, image, epsilon, labels, "linf", *way, box=False).best
      np.testing.assert_allclose(best[0, 1], expected, atol=1e-5)

  @parameterized.parameters("linf", "l2")
  @pytest.mark.long
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

  @pytest.mark.long
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

  @pytest.mark.long
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


class ConvolutionsTest(parameterized.TestCase):
  @parameterized.parameters((2, "SAME"), (1, "SAME"), (2, "VALID"))
  @long.after(1)
  def test_by_products_are_xlas(self, stride, padding):
    """What bounds take of a convolution: its weights' sizes and squares, its transpose."""
    kernel, x = (
      jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)
      for seed, shape in enumerate(((3, 3, 2, 4), (22, 7, 6, 2)))
    )
    plain = layers.Convolution(kernel, jnp.zeros(4), stride, padding)

    @jax.jit
    def found(layer, x):
      of_all = []
      for of_weights in (lambda w: w, jnp.abs, jnp.square):
        product = functools.partial(layers.product, layer, of_weights=of_weights)
        outputs = product(x)
        a = jnp.sin(jnp.arange(outputs.size, dtype=jnp.float32)).reshape(outputs.shape)
        of_all += [outputs, linear._transposed(product, x.shape, a[None])]
      return of_all

    ours = found(dataclasses.replace(plain, convolve=convolution.by_products), x)
    for mine, xlas in zip(ours, found(plain, x), strict=True):
      np.testing.assert_allclose(mine, xlas, atol=1e-4)


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
