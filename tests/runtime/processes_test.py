"""Several processes: how they agree and share a folder, and what each is told.

`test_two_real_processes` starts two on this machine; whole runs of several are in
`processes_runs.py` (`make test-processes`).
"""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
from unittest import mock

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.runtime import processes, shared_folder

_ROOT = pathlib.Path(__file__).resolve().parents[2]

# What each of two processes does; it prints "done" at its end.
_WORK = """
import pathlib, sys
import jax, jax.numpy as jnp, numpy as np
from pacd_jax import errors
from pacd_jax.certification import votes
from pacd_jax.runtime import checkpoint, processes, shared_folder, sharding

address, number, shared, other = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
shared_folder._SEEN_WITHIN = 0.5
processes.start(address, 2, number, timeout=60, give_up=print)
jax.config.update("jax_num_cpu_devices", 2)
mesh = sharding.mesh()
assert (mesh.size, jax.process_index()) == (4, number)
assert processes.is_first() == (number == 0)

# Agreeing.
assert processes.all_texts("\\u03c3" * (number + 1)) == ["\\u03c3", "\\u03c3\\u03c3"]
assert processes.all_texts("") == ["", ""]
assert processes.any_of(number == 1) and not processes.any_of(False)
assert (processes.from_first(np.full(3, number)) == 0).all()

def refusal(function, *args):
  try:
    with function(*args) or processes.held([]):
      raise AssertionError("not refused")
  except errors.InputError as error:
    return str(error)

said = refusal(processes.check_same, {"seed": 0, "sigma": 0.25 * (1 + number)})
assert said.startswith("processes differ in sigma: it is 0.25 in process 0 and 0.5"), said
processes.check_same({"seed": 0})

# The folder: process 0's own, and a copy.
said = refusal(shared_folder.own, shared if number == 0 else other)
assert said.startswith(f"process 1: --workdir={other} is not shared"), said
said = refusal(shared_folder.own, "/dev/null/run")
assert said.startswith("--workdir=/dev/null/run cannot be written"), said
with shared_folder.own(shared) as own:
  assert (own == pathlib.Path(shared)) == (number == 0)
  assert (own / "kept").read_text() == "it"
  assert (own / "checkpoints/train").is_dir()
  assert (own / "checkpoints/train/1").exists() == (number == 0)
  (own / f"of_{number}").write_text("")
assert own.exists() == (number == 0)

# Shares of work, and what becomes of them.
images = jnp.arange(20.0).reshape(5, 2, 2, 1) / 20.0
params = jnp.cos(jnp.arange(12.0)).reshape(4, 3)
apply = lambda params, images: images.reshape(len(images), -1) @ params
gradient = lambda apply: lambda p, x: jax.grad(lambda p: jnp.sum(apply(p, x) ** 3))(p)
there = jax.jit(gradient(sharding.over_batch(apply, mesh)),
                out_shardings=sharding.replicated(mesh))
found = there(*sharding.replicate((params, images), mesh))
np.testing.assert_allclose(found, gradient(apply)(params, images), rtol=1e-5)
rows = sharding.over_rows(lambda keys: jax.vmap(jax.random.normal)(keys), mesh, (0,))
keys = jax.random.split(jax.random.key(0), 5)
found = jax.jit(rows, out_shardings=sharding.replicated(mesh))(
    sharding.replicate(keys, mesh))
np.testing.assert_array_equal(found, jax.vmap(jax.random.normal)(keys))
data = np.asarray(jax.random.key_data(keys))
drawn = votes.draw(params, np.asarray(images), data, np.zeros(5, np.uint32),
                   np.full(5, 30, np.int32), np.float32(0.1), apply=apply,
                   batch_size=4, mesh=mesh)
counts, non_finite = sharding.to_all(drawn, mesh)
assert counts.shape == (4, 5, 3) and (np.asarray(counts).sum(axis=(0, 2)) == 30).all()

# Checkpoints: process 0 writes, all get what it reads.
state = {"weights": sharding.replicate(params, mesh)}
with checkpoint.Checkpoints(pathlib.Path(shared, "checkpoints", "new"), "run") as saved:
  like = jax.tree.map(jnp.zeros_like, state)
  assert saved.restore(like)[1] == 0
  saved.save(2, state)
with checkpoint.Checkpoints(pathlib.Path(shared, "checkpoints", "new"), "run") as saved:
  found, step = saved.restore(like)
  assert step == 2 and found["weights"].sharding == like["weights"].sharding
  np.testing.assert_array_equal(found["weights"], params)
with checkpoint.Checkpoints(pathlib.Path(shared, "checkpoints", "new"), "that") as saved:
  assert "belongs to another run" in refusal(saved.restore, like)
print("done", flush=True)
"""


def free_address() -> str:
  """A port of this machine that nothing listens on."""
  with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{one.getsockname()[1]}"


class StartTest(parameterized.TestCase):
  @parameterized.parameters(
    ((None, 2, 0), "--coordinator_address is missing: give all of"),
    (("h:1", None, None), "--num_processes and --process_id is missing"),
    (("host", 2, 0), "--coordinator_address=host is no address: write HOST:PORT"),
    (("host:port", 2, 0), "host:port is no address"),
    ((":1", 2, 0), "is no address"),
    (("host:66000", 2, 0), "is no address"),
    (("h:1", 2, 2), "--process_id=2 with --num_processes=2: processes are numbered"),
    (("h:1", 0, 0), "--num_processes=0"),
    (("h:1", 2, -1), "--process_id=-1"),
  )
  def test_bad_arguments(self, given, message):
    with self.assertRaisesRegex(errors.InputError, message):
      processes.start(*given, give_up=self.fail)

  def test_one_process_needs_no_other(self):
    with mock.patch.object(jax.distributed, "initialize") as initialize:
      processes.start(None, 1, None, give_up=self.fail)
    initialize.assert_not_called()

  def test_without_a_cluster_it_is_the_only_process(self):
    no_cluster = ValueError("coordinator_address should be defined.")
    with mock.patch.object(jax.distributed, "initialize", side_effect=no_cluster):
      processes.start(give_up=self.fail)
    self.assertTrue(processes.is_first())

  @parameterized.parameters(
    (RuntimeError("403\nForbidden"), "cluster cannot be used .RuntimeError: 403 Forbidden"),
    (ValueError("bad nodes"), "the processes cannot start: bad nodes"),
  )
  def test_a_cluster_that_cannot_be_used(self, error, message):
    fails = mock.patch.object(jax.distributed, "initialize", side_effect=error)
    with fails, self.assertRaisesRegex(errors.InputError, message):
      processes.start(give_up=self.fail)

  def test_a_coordinator_that_does_not_answer_is_named(self):
    told = threading.Event()

    def give_up(error):
      self.message = str(error)
      told.set()

    hang = mock.patch.object(jax.distributed, "initialize", lambda *a, **k: told.wait(30))
    with hang, mock.patch.object(jax.config, "update"):
      processes.start("nowhere:80", 2, 1, timeout=0.05, give_up=give_up)
    self.assertTrue(told.is_set())
    self.assertStartsWith(self.message, "no answer within 0.05 s from the coordinator")
    self.assertIn("nowhere:80", self.message)
    self.assertNotIn("proxy", self.message)

  def test_a_proxy_is_named(self):
    surroundings = {"http_proxy": "http://proxy:3128", "https_proxy": ""}
    with mock.patch.dict(os.environ, surroundings):
      message = str(processes._no_answer("host1:80", 5))
    self.assertIn("without a proxy (http_proxy set: add host1 to no_proxy)", message)


class OneProcessTest(absltest.TestCase):
  def test_everything_is_its_own(self):
    value = np.arange(3)
    self.assertIs(processes.from_first(value), value)
    self.assertEqual(processes.all_texts("text"), ["text"])
    self.assertTrue(processes.any_of(True))
    self.assertFalse(processes.any_of(False))
    with shared_folder.own("runs/none") as own:
      self.assertEqual(own, pathlib.Path("runs/none"))
    self.assertFalse(own.exists())

  def test_an_error_is_passed_on(self):
    with self.assertRaisesRegex(errors.InputError, "^of mine$"), processes.agreeing():
      raise errors.InputError("of mine")

  def test_an_error_of_another_is_everyones(self):
    texts = mock.patch.object(processes, "all_texts", lambda text: ["", "of yours"])
    refused = self.assertRaisesRegex(errors.InputError, "^process 1: of yours$")
    with texts, refused, processes.agreeing():
      pass


@pytest.mark.long
class TwoProcessesTest(absltest.TestCase):
  def test_two_real_processes(self):
    shared, other = (self.enterContext(tempfile.TemporaryDirectory()) for _ in range(2))
    pathlib.Path(shared, "kept").write_text("it")
    pathlib.Path(shared, "checkpoints/train/1").mkdir(parents=True)
    address = free_address()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    started = [
      subprocess.Popen(
        [sys.executable, "-c", _WORK, address, str(number), shared, other],
        cwd=_ROOT,
        env={**clean, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
      )
      for number in range(2)
    ]
    try:
      outputs = [process.communicate(timeout=120)[0] for process in started]
    finally:
      for process in started:
        process.kill()
    for process, output in zip(started, outputs, strict=True):
      self.assertEqual(process.returncode, 0, "\n".join(outputs))
      self.assertIn("done", output)
    self.assertTrue(pathlib.Path(shared, "of_0").exists())
    self.assertFalse(pathlib.Path(shared, "of_1").exists())


if __name__ == "__main__":
  absltest.main()
