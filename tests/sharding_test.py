"""Tests of the mesh, and of CPU cores as devices: in processes of their own."""

import os
import subprocess
import sys

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
    whole = jax.device_put(jax.numpy.arange(3), sharding.replicated())
    self.assertLen(whole.addressable_shards, jax.local_device_count())
    self.assertTrue(whole.is_fully_replicated)

  def test_a_device_for_each_core(self):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    self.assertEqual(_num_devices(), [str(cores or os.cpu_count())] * 2)

  @parameterized.parameters(
    {"JAX_NUM_CPU_DEVICES": "3"},
    {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"},
  )
  def test_the_users_choice_stands(self, **environment):
    self.assertEqual(_num_devices(**environment), ["3", "3"])


if __name__ == "__main__":
  absltest.main()
