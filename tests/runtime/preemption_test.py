"""SIGTERM: outside of a loop it ends the process at once, inside it waits."""

import signal
import subprocess
import sys

from absl.testing import absltest, parameterized

_HEAD = """
import os, signal, sys
from pacd_jax.runtime import preemption
preemption.install()
def term(): os.kill(os.getpid(), signal.SIGTERM)
"""


def _run(body: str) -> tuple[int, str, str]:
  command = [sys.executable, "-c", _HEAD + body]
  done = subprocess.run(command, capture_output=True, text=True)
  return done.returncode, done.stdout, done.stderr


class PreemptionTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("outside", "print('a'); term(); print('b')"),
    (
      "after_a_loop",
      "with preemption.deferred() as asked: print('a')\nterm(); print('b')",
    ),
    (
      "twice_inside",
      "with preemption.deferred() as asked: print('a'); term(); term(); print('b')",
    ),
  )
  def test_ends_at_once(self, body):
    status, out, said = _run(body)
    self.assertEqual((status, out), (128 + signal.SIGTERM, "a\n"), said)
    self.assertEqual(said, "\nterminated: the same command resumes it\n")

  def test_waits_inside_a_loop(self):
    body = """
with preemption.deferred() as asked:
  before = asked()
  term()
  print(before, asked())
with preemption.deferred() as asked:
  print(asked())
"""
    self.assertEqual(_run(body), (0, "False True\nFalse\n", ""))


if __name__ == "__main__":
  absltest.main()
