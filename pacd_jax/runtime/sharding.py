"""The mesh over the devices of all processes, and how work is sharded over it.

SPMD: every process runs the same program on global arrays. Batches, independent victims and
noisy copies are sharded over the devices; all else is replicated. Losses, solvers and
attacks contain no collectives: these come from here, by `jax.shard_map` and its
derivatives; `votes.py` sums its own counts, and `processes.py` communicates on the host.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

AXIS = "devices"
_CGROUP = pathlib.Path("/sys/fs/cgroup")
_Tree = TypeVar("_Tree")
_cores_are_devices = False  # Set by `cores_as_devices`.
# Operations of a forward pass over a mini-batch from which on a training step occupies two
# cores by itself.
_SMALL_STEP = 1e8


# --- the mesh -------------------------------------------------------------------------


def mesh(size: int | None = None) -> jax.sharding.Mesh:
  """The mesh `[AXIS]` over the devices of all processes: all, or the first `size`."""
  return _in_a_row(jax.devices()[:size])


def batch_mesh() -> jax.sharding.Mesh:
  """The mesh that batches are sharded over: all devices, in general.

  If cores were made devices (`cores_as_devices`), it has the first device of each process,
  whose operations use all cores.
  """
  if not _cores_are_devices or jax.default_backend() != "cpu":
    return mesh()
  first = {device.process_index: device for device in reversed(jax.devices())}
  return _in_a_row([first[process] for process in sorted(first)])


def victims_mesh(forward_flops: Callable[[], float]) -> jax.sharding.Mesh:
  """The mesh that independent trainings are sharded over: all devices, in general.

  If cores were made devices, it is `batch_mesh` for steps that occupy several cores by
  themselves, and for runs of several processes.

  Args:
    forward_flops: counts the operations of a forward pass over a mini-batch, if need be.
  """
  if batch_mesh().size == mesh().size or jax.process_count() > 1:
    return batch_mesh()
  return mesh() if forward_flops() < _SMALL_STEP else batch_mesh()


def are_cores(mesh: jax.sharding.Mesh) -> bool:
  """Whether its devices are several cores of this process, by `cores_as_devices`."""
  is_local = jax.process_count() == 1 and jax.default_backend() == "cpu"
  return _cores_are_devices and is_local and mesh.size > 1


def _in_a_row(devices: Sequence[jax.Device]) -> jax.sharding.Mesh:
  auto = (jax.sharding.AxisType.Auto,)
  return jax.sharding.Mesh(np.array(devices), (AXIS,), axis_types=auto)


def replicated(mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """The sharding of arrays that are replicated over the mesh."""
  return jax.sharding.NamedSharding(mesh, PartitionSpec())


# --- arrays in and out ----------------------------------------------------------------


def replicate(tree: _Tree, mesh: jax.sharding.Mesh) -> _Tree:
  """Replicates arrays, which are equal in every process, over the mesh.

  Leaves are NumPy or JAX arrays, random keys too; replicated ones are passed through.
  """
  sharding = replicated(mesh)

  def one(leaf):
    if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
      return leaf
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
      words = one(jax.random.key_data(leaf))
      return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    if jax.process_count() == 1:
      return jax.device_put(leaf, sharding)
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

  return jax.tree.map(one, tree)


def hold_rows(tree: _Tree, mesh: jax.sharding.Mesh) -> _Tree:
  """Places rows `[rows, ...]` where they stay between calls of what is sharded over a mesh.

  They are replicated; those of cores are on the host (`by_core`).
  """
  if are_cores(mesh):
    return jax.tree.map(np.asarray, tree)
  return replicate(tree, mesh)


def to_all(tree: _Tree, mesh: jax.sharding.Mesh) -> _Tree:
  """Replicates results that are sharded over several processes, so that all can read them.

  With one process, they stay sharded over its devices.
  """
  if jax.process_count() == 1:
    return tree
  return jax.jit(lambda leaves: leaves, out_shardings=replicated(mesh))(tree)


# --- shares ---------------------------------------------------------------------------


def over_batch(function: Callable[..., Any], mesh: jax.sharding.Mesh) -> Callable[..., Any]:
  """`function(params, images)`, with the images sharded over the mesh.

  It is differentiable as the function is; gradients in `params` are summed over the
  devices. A batch that the devices do not divide is padded with black images, whose outputs
  are cut off again.

  Args:
    function: takes replicated parameters and images `[B, ...]`; returns `[B, ...]`, each
      row of which depends on its own image alone.
    mesh: with one device, the function itself is returned.
  """
  if mesh.size == 1:
    return function

  def of_batch(params, images):
    num_images = len(images)
    missing = -num_images % mesh.size
    images = jnp.pad(images, [(0, missing)] + [(0, 0)] * (images.ndim - 1))
    outputs = jax.shard_map(
      function,
      mesh=mesh,
      in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
      out_specs=PartitionSpec(AXIS),
    )(params, images)
    return outputs[:num_images]

  return of_batch


def _specs(in_axes: Sequence[int | None]) -> tuple[PartitionSpec, ...]:
  """A replicated argument may have no axis at all, such as a key."""
  return tuple(PartitionSpec(AXIS) if axis == 0 else PartitionSpec() for axis in in_axes)


def over_rows(
  function: Callable[..., Any],
  mesh: jax.sharding.Mesh,
  in_axes: Sequence[int | None],
) -> Callable[..., Any]:
  """A function of independent rows, with the rows sharded over the mesh.

  Each device takes the same number of consecutive rows, and devices exchange nothing. A
  device without rows does nothing; a device with fewer rows than the others computes its
  last one again.

  Args:
    function: its outputs are `[rows, ...]`, and no row depends on another.
    mesh: with one device, the function itself is returned.
    in_axes: for each argument: 0 if its leaves are `[rows, ...]`, None if it is replicated.
  """
  if mesh.size == 1:
    return function
  specs = _specs(in_axes)

  def of_rows(*args):
    num_rows = len(jax.tree.leaves(args[list(in_axes).index(0)])[0])
    share = -(-num_rows // mesh.size)
    rows = np.minimum(np.arange(share * mesh.size), num_rows - 1)
    filled = [
      jax.tree.map(lambda leaf: leaf[rows], arg) if axis == 0 else arg
      for arg, axis in zip(args, in_axes, strict=True)
    ]

    def of_device(*args):
      def nothing(*args):
        shapes = jax.eval_shape(function, *args)
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

      has_rows = jax.lax.axis_index(AXIS) * share < num_rows
      return jax.lax.cond(has_rows, function, nothing, *args)

    outputs = jax.shard_map(
      of_device,
      mesh=mesh,
      in_specs=specs,
      out_specs=PartitionSpec(AXIS),
      check_vma=False,
    )(*filled)
    return jax.tree.map(lambda leaf: leaf[:num_rows], outputs)

  return of_rows


def by_core(
  function: Callable[..., Any], in_axes: Sequence[int | None], *, donated: int
) -> Callable[..., Any]:
  """A function of independent rows, with the rows shared by the cores (`are_cores`).

  Shares are cut and joined on the host: in a collective of `over_rows` a core that has less
  to do would wait for the others, and XLA ends a process that waits too long; and all cores
  would hold all rows. A core with fewer rows computes its last one again.

  Args:
    function: its outputs are `[rows, ...]`, and no row depends on another.
    in_axes: for each argument: 0 if its leaves are `[rows, ...]`, None if cores share it.
    donated: the number of the argument whose buffers the outputs may use.

  Returns:
    A compiled function with NumPy arrays as outputs. Random keys are arguments alone.
  """
  specs = _specs(in_axes)

  @functools.cache
  def on(num_cores):
    cores = mesh(num_cores)
    shared = jax.shard_map(
      function,
      mesh=cores,
      in_specs=specs,
      out_specs=PartitionSpec(AXIS),
      check_vma=False,
    )
    return cores, jax.jit(shared, donate_argnums=donated)

  def of_rows(*args):
    num_rows = len(jax.tree.leaves(args[list(in_axes).index(0)])[0])
    share = -(-num_rows // len(jax.devices()))
    cores, compiled = on(-(-num_rows // share))
    rows = np.minimum(np.arange(share * cores.size), num_rows - 1)
    of_cores = jax.sharding.NamedSharding(cores, PartitionSpec(AXIS))
    placed = [
      replicate(arg, cores)
      if axis is None
      else jax.tree.map(lambda leaf: _cut(leaf, rows, of_cores), arg)
      for arg, axis in zip(args, in_axes, strict=True)
    ]
    outputs = compiled(*placed)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:num_rows], outputs)

  return of_rows


def _cut(leaf, rows, sharding):
  if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    words = _cut(jax.random.key_data(leaf), rows, sharding)
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
  return jax.device_put(np.asarray(leaf)[rows], sharding)


# --- the host -------------------------------------------------------------------------


def num_cores() -> int:
  """The CPU cores that this process may use, by its affinity and a container's quota."""
  has_affinity = hasattr(os, "sched_getaffinity")
  cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
  quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
  if quota.isdecimal() and period.strip().isdecimal():
    cores = min(cores, max(1, int(quota) // int(period)))
  return cores


def free_memory() -> int:
  """Bytes of the host's memory that are free, within a container's limit too."""
  free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  for line in _read(pathlib.Path("/proc/meminfo")).splitlines():
    if line.startswith("MemAvailable:"):
      free = int(line.split()[1]) * 1024
  most, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
  if most.strip().isdecimal() and used.strip().isdecimal():
    free = min(free, max(0, int(most) - int(used)))
  return free


def _read(path: pathlib.Path) -> str:
  try:
    return path.read_text(encoding="utf-8")
  except OSError:  # Not on Linux, or without such a limit.
    return ""


def cores_as_devices(cores: int | None = None) -> None:
  """Makes each CPU core a device of its own; call it before JAX is first used.

  Independent work, such as certification and victims of small networks, is faster on one
  device per core than on one device that splits each operation over the cores (`make
  bench`, `certify_devices` and `victims_by_core`). Batches and victims of large networks
  stay on the first device, whose operations use all cores (`batch_mesh`, `victims_mesh`).

  Nothing changes if the user has chosen a number of devices, by `XLA_FLAGS` or by
  `JAX_NUM_CPU_DEVICES`; all work is then sharded over these.

  Args:
    cores: the number of devices, by default of cores that this process may use.
  """
  global _cores_are_devices
  by_xla = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if not by_xla and "JAX_NUM_CPU_DEVICES" not in os.environ:
    jax.config.update("jax_num_cpu_devices", cores or num_cores())
    _cores_are_devices = True
