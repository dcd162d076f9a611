"""Temporary folders are gone, however the process ends by itself."""

import pathlib
import subprocess
import sys
import tempfile

import long
from absl.testing import absltest, parameterized

_HEAD = """
import os, signal
from pacd_jax.experiment import command
from pacd_jax.runtime import compilation, ending, preemption
signal.signal(signal.SIGINT, command.interrupted)
preemption.install()
"""


class EndingTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("at_its_end", "pass", 0),
    ("by_an_error", "raise SystemExit(7)", 7),
    ("at_once", "ending.at_once(5)", 5),
    ("by_an_interrupt", "os.kill(os.getpid(), signal.SIGINT)", 130),
    ("by_sigterm", "os.kill(os.getpid(), signal.SIGTERM)", 143),
  )
  @long.after(2)
  def test_nothing_stays(self, end, status):
    temporary = self.enterContext(tempfile.TemporaryDirectory())
    body = f"""
with ending.temporary_folder() as folder, compilation.shared_by_runs():
  (folder / "run").mkdir()
  (folder / "run" / "poison.npz").write_text("")
  print(len(list(folder.parent.glob("pacd_jax.*"))))
  {end}
"""
    done = subprocess.run(
      [sys.executable, "-c", _HEAD + body],
      env={"TMPDIR": temporary, "PATH": "/usr/bin:/bin"},
      cwd=pathlib.Path(__file__).resolve().parents[2],
      capture_output=True,
      text=True,
    )
    self.assertEqual((done.returncode, done.stdout), (status, "2\n"), done.stderr)
    self.assertEmpty(list(pathlib.Path(temporary).glob("pacd_jax.*")))


if __name__ == "__main__":
  absltest.main()
