"""Tests of the mesh and of shares of work; CPU cores as devices, in other processes."""

import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import attack_config, config, sizes
from pacd_jax.runtime import sharding

_COUNT = """
from pacd_jax.runtime import sharding
sharding.cores_as_devices()
import jax
print(jax.local_device_count(), sharding.mesh().size, sharding.batch_mesh().size)
print(*(sharding.victims_mesh(lambda: x).size for x in (1e6, 1e10)))
"""


def _num_devices(**environment):
  """Devices and lengths of the meshes, after `cores_as_devices` in a fresh process."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
  process = subprocess.run(
    [sys.executable, "-c", _COUNT],
    env={**clean, "JAX_PLATFORMS": "cpu", **environment},
    capture_output=True,
    text=True,
  )
  return process.stdout.split() or process.stderr


class MeshTest(parameterized.TestCase):
  def test_mesh_has_every_device(self):
    self.assertEqual(sharding.mesh().shape, {sharding.AXIS: jax.device_count()})
    self.assertEqual(sharding.mesh(2).size, 2)

  def test_a_device_for_each_core_and_batches_on_the_first(self):
    cores = str(sharding.num_cores())
    small, large = cores, "1"
    self.assertEqual(_num_devices(), [cores, cores, "1", small, large])
    self.assertBetween(sharding.num_cores(), 1, os.cpu_count())

  @parameterized.parameters(
    {"JAX_NUM_CPU_DEVICES": "3"},
    {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"},
  )
  def test_the_users_choice_stands(self, **environment):
    self.assertEqual(_num_devices(**environment), ["3"] * 5)

  @parameterized.parameters(
    ("250000 100000", 2), ("50000 100000\n", 1), ("max 100000", 64), (None, 64)
  )
  def test_a_containers_quota_bounds_the_cores(self, limit, cores):
    self._cgroup(**({} if limit is None else {"cpu.max": limit}))
    affinity = mock.patch.object(os, "sched_getaffinity", lambda _: range(64), create=True)
    with affinity:
      self.assertEqual(sharding.num_cores(), cores)

  def test_a_containers_limit_bounds_the_memory(self):
    self._cgroup(**{"memory.max": "max\n", "memory.current": "5"})
    self.assertGreater(sharding.free_memory(), 2**20)
    self._cgroup(**{"memory.max": "1000\n", "memory.current": "400\n"})
    self.assertEqual(sharding.free_memory(), 600)
    self._cgroup(**{"memory.max": "400", "memory.current": "1000"})
    self.assertEqual(sharding.free_memory(), 0)

  def _cgroup(self, **files):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    for name, text in files.items():
      (folder / name).write_text(text)
    self.enterContext(mock.patch.object(sharding, "_CGROUP", folder))


class ArraysTest(absltest.TestCase):
  def test_replicated_trees_are_whole_on_each_device(self):
    mesh = sharding.mesh()
    tree = {"host": np.arange(3), "device": jnp.ones(2), "key": jax.random.key(7)}
    placed = sharding.replicate(tree, mesh)
    for leaf in placed.values():
      self.assertTrue(leaf.is_fully_replicated)
      self.assertLen(leaf.sharding.device_set, 3)
    np.testing.assert_array_equal(placed["host"], tree["host"])
    draws = [jax.random.normal(key, (4,)) for key in (placed["key"], jax.random.key(7))]
    np.testing.assert_array_equal(*draws)
    self.assertIs(sharding.replicate(placed["host"], mesh), placed["host"])


def _network(params, images):
  hidden = jnp.tanh(images.reshape(len(images), -1) @ params["first"])
  return hidden @ params["second"]


class OverBatchTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    keys = jax.random.split(jax.random.key(0), 4)
    self.params = {
      "first": jax.random.normal(keys[0], (12, 5)),
      "second": jax.random.normal(keys[1], (5, 4)),
    }
    self.tangent = jax.tree.map(jnp.cos, self.params)
    self.images = jax.random.normal(keys[2], (7, 2, 3, 2))

  @parameterized.parameters(6, 7, 2)
  def test_outputs_and_derivatives_are_those_of_one_device(self, batch):
    images = self.images[:batch]

    def numbers(apply):
      def loss(params, images):
        return jnp.mean(jax.nn.logsumexp(apply(params, images), axis=-1) ** 2)

      gradient = jax.grad(loss, argnums=(0, 1))
      product = jax.jvp(
        lambda p: jax.grad(loss)(p, images), (self.params,), (self.tangent,)
      )[1]
      several = jax.tree.map(lambda leaf: jnp.stack([leaf, 2.0 * leaf]), self.params)
      mapped = jax.vmap(lambda p: jax.grad(loss)(p, images))(several)
      return apply(self.params, images), gradient(self.params, images), product, mapped

    here = jax.jit(lambda: numbers(_network))()
    shared = sharding.over_batch(_network, sharding.mesh())
    there = jax.jit(lambda: numbers(shared))()
    for one, other in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)  # Float32 sums.

  def test_each_device_computes_its_share_alone(self):
    shared = jax.jit(sharding.over_batch(_network, sharding.mesh()))
    text = shared.lower(self.params, self.images[:6]).compile().as_text()
    self.assertIn("f32[2,5]", text)  # Hidden units of two images: a third of six.
    self.assertNotIn("f32[6,5]", text)

  def test_one_device_is_the_function_itself(self):
    self.assertIs(sharding.over_batch(_network, sharding.mesh(1)), _network)


def _of_rows(state, table, keys, key):
  draws = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
  whole = jax.random.randint(key, (), 0, 9)  # Exact in any order.
  return {"next": state + table[None] + draws}, state.sum(axis=1) + whole


def _rows(num_rows):
  """Arguments of `_of_rows`; and what it gives on one device."""
  state = jnp.arange(2.0 * num_rows).reshape(num_rows, 2)
  keys = jax.random.split(jax.random.key(3), num_rows)
  args = state, jnp.array([0.5, -1.0]), keys, jax.random.key(4)
  return args, jax.jit(_of_rows)(*args[:2], *map(jax.random.clone, args[2:]))


class OverRowsTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3, 5, 6)
  def test_rows_are_those_of_one_device(self, num_rows):
    """Fewer than devices, as many, and more; keys are rows, too, or shared."""
    args, expected = _rows(num_rows)
    shared = sharding.over_rows(_of_rows, sharding.mesh(), in_axes=(0, None, 0, None))
    found = jax.jit(shared)(*args)
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
      np.testing.assert_array_equal(one, other)

  @parameterized.parameters((1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3))
  def test_rows_by_core_are_those_of_one_device(self, num_rows, num_cores):
    """Three cores; no more of them than have a row of their own."""
    args, expected = _rows(num_rows)
    used = []

    def traced(*args):
      used.append(len(args[0]))
      return _of_rows(*args)

    shared = sharding.by_core(traced, (0, None, 0, None), donated=0)
    for _ in range(2):
      found = shared(*args)
      for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        self.assertIsInstance(other, np.ndarray)
        np.testing.assert_array_equal(one, other)
    self.assertEqual(used, [-(-num_rows // num_cores)])  # Compiled once.

  def test_cores_do_not_wait_for_each_other(self):
    """A collective would end the process where a core comes late."""
    sharded = jax.sharding.NamedSharding(
      sharding.mesh(), jax.sharding.PartitionSpec(sharding.AXIS)
    )
    compiled = []
    jitted = jax.jit

    def watched(function, **options):
      made = jitted(function, **options)
      compiled.append(made)
      return made

    with mock.patch.object(jax, "jit", watched):
      sharding.by_core(jnp.sin, (0,), donated=0)(np.ones((6, 2), np.float32))
    given = jax.device_put(np.ones((6, 2), np.float32), sharded)
    text = compiled[0].lower(given).compile().as_text()
    self.assertNotRegex(text, "all-|collective")

  def test_devices_exchange_nothing_while_they_compute(self):
    shared = sharding.over_rows(lambda x: jnp.sin(x), sharding.mesh(), in_axes=(0,))
    rows = jax.sharding.PartitionSpec(sharding.AXIS)
    placed = jax.NamedSharding(sharding.mesh(), rows)
    jitted = jax.jit(shared, in_shardings=placed, out_shardings=placed)
    text = jitted.lower(jnp.ones((6, 2))).compile().as_text()
    for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute"):
      self.assertNotIn(collective, text)


def _batches(clean, poison):
  attack = attack_config.Attack(clean_batch=clean, poison_batch=poison)
  return config.Config(attack=attack)


class BatchSizeTest(parameterized.TestCase):
  @parameterized.parameters(
    (8, 900, 104, 2000, "use attack.clean_batch=896, or fewer"),
    (8, 900, 103, 2000, "use attack.clean_batch=897, or fewer"),
    (8, 900, 105, 902, "use attack.clean_batch=895, or fewer"),
    (64, 5, 20, 50, "= 5 [+] 20 images: use attack.clean_batch=44, or fewer"),
    (512, 5, 20, 50, "= 5 [+] 20 images: use fewer devices"),
  )
  def test_one_that_devices_do_not_divide(self, devices, clean, poison, most, words):
    of_run = _batches(clean, poison)
    mesh = mock.Mock(size=devices)
    self.enterContext(mock.patch.object(sharding, "batch_mesh", lambda: mesh))
    with self.assertRaisesRegex(errors.InputError, f"^{devices} devices.*{words}"):
      sizes.check_shares(of_run, most)

  def test_one_that_they_divide(self):
    of_run = _batches(900, 100)
    mesh = mock.Mock(size=8)
    self.enterContext(mock.patch.object(sharding, "batch_mesh", lambda: mesh))
    sizes.check_shares(of_run, 2000)


if __name__ == "__main__":
  absltest.main()
