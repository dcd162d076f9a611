"""The row of kept programs: what a run without them leaves, and what is compiled again."""

import pathlib
import subprocess
from unittest import mock

from absl.testing import absltest, parameterized

from pacd_jax.bench import kept_programs


class KeptProgramsTest(parameterized.TestCase):
  @parameterized.parameters(([], 0), (["e"], 1))
  def test_counts_what_the_second_run_adds(self, more, again):
    now = [0.0]

    def run(command, env, **options):
      """The first one compiles four programs in 20 s; the second takes 5 s."""
      del command, options
      self.assertNotIn("JAX_COMPILATION_CACHE_DIR", env)
      folder = pathlib.Path(env["XDG_CACHE_HOME"], "pacd_jax")
      is_first = not folder.exists()
      folder.mkdir(parents=True, exist_ok=True)
      for name in "abcd" if is_first else more:
        (folder / f"{name}-cache").touch()
      now[0] += 20.0 if is_first else 5.0
      return subprocess.CompletedProcess([], 0)

    with (
      mock.patch.dict("os.environ", {"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}),
      mock.patch.object(kept_programs.subprocess, "run", run),
      mock.patch.object(kept_programs.time, "perf_counter", lambda: now[0]),
    ):
      row = kept_programs.measure()
    self.assertEqual((row["ours"], row["peer"], row["ratio"]), (1 / 5, 1 / 20, 4.0))
    self.assertEqual((row["programs"], row["compiled_again"]), (4, again))

  def test_a_run_that_fails_is_said(self):
    done = subprocess.CompletedProcess([], 2, stderr="error: no such thing")
    with (
      mock.patch.object(kept_programs.subprocess, "run", return_value=done),
      self.assertRaisesRegex(RuntimeError, "digits_ga:smoke .*failed:\nerror: no such"),
    ):
      kept_programs.measure()


if __name__ == "__main__":
  absltest.main()
