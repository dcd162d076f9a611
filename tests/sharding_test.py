"""Tests of the mesh, and of CPU cores as devices: in processes of their own."""

import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import jax
from absl.testing import absltest, parameterized

from pacd_jax import sharding

_COUNT = """
from pacd_jax import sharding
sharding.cores_as_devices()
import jax
print(jax.local_device_count(), sharding.mesh().shape[sharding.AXIS])
"""


def _num_devices(**environment):
  """Devices and length of the mesh, after `cores_as_devices` in a fresh process."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
  process = subprocess.run(
    [sys.executable, "-c", _COUNT],
    env={**clean, "JAX_PLATFORMS": "cpu", **environment},
    capture_output=True,
    text=True,
  )
  return process.stdout.split() or process.stderr


class ShardingTest(parameterized.TestCase):
  def test_mesh_has_every_device_of_this_process(self):
    self.assertEqual(sharding.mesh().shape, {sharding.AXIS: jax.local_device_count()})
    self.assertEqual(sharding.mesh(2).size, 2)
    whole = jax.device_put(jax.numpy.arange(3), sharding.replicated(sharding.mesh()))
    self.assertLen(whole.addressable_shards, jax.local_device_count())
    self.assertTrue(whole.is_fully_replicated)

  def test_a_device_for_each_core(self):
    self.assertEqual(_num_devices(), [str(sharding.num_cores())] * 2)
    self.assertBetween(sharding.num_cores(), 1, os.cpu_count())

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

  @parameterized.parameters(
    {"JAX_NUM_CPU_DEVICES": "3"},
    {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"},
  )
  def test_the_users_choice_stands(self, **environment):
    self.assertEqual(_num_devices(**environment), ["3", "3"])


if __name__ == "__main__":
  absltest.main()
