"""A disk that is full in mid-run: an error that names a file, and then the same results."""

import pathlib
import shutil
import subprocess
import sys

import asked
import finished_run
import full_disk
import pytest
import same_results
from absl.testing import absltest, parameterized

from pacd_jax.runtime import files

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a run lacks, how many bytes fit into a file, and the files that do not.
_STAGES = (
  (("results.json", "report"), 2000, r"results\.json"),
  (("checkpoints/train", "certificates"), 4000, r"checkpoints/train[^:]*|metrics\.jsonl"),
  (("poison", "checkpoints/attack"), 4000, r"checkpoints/attack[^:]*|poison/[a-z.]+"),
)


class FullDiskTest(finished_run.FinishedRunTestCase):
  @parameterized.parameters(*_STAGES)
  @pytest.mark.long
  def test_every_stage(self, lacks, size, name):
    self.copy_finished()
    for each in lacks:
      path = self.workdir / each
      shutil.rmtree(path) if path.is_dir() else path.unlink()
    with self.assertRaises(OSError) as caught, full_disk.room_for(size):
      asked.run(finished_run.smoke(), self.workdir)
    words = files.in_words(caught.exception)
    self.assertRegex(words, rf"^{self.workdir}/({name}): File too large: allow")
    self.assertEqual(asked.run(finished_run.smoke(), self.workdir), self.table)
    self.assertEmpty(same_results.differences(self.finished, self.workdir))

  @pytest.mark.long
  def test_one_line_and_a_status_of_its_own(self):
    run = f"{sys.executable} main.py --config=configs/digits_ga.py:smoke"
    run += f" --config.model.name=linear --workdir={self.workdir}"
    done = subprocess.run(
      ["bash", "-c", f"ulimit -f 6; {run}"], cwd=_ROOT, capture_output=True, text=True
    )
    self.assertEqual(done.returncode, 5, done.stderr)
    last = done.stderr.splitlines()[-1]
    self.assertRegex(
      last, rf"^error: {self.workdir}/.*: File too large: allow files of that"
    )
    self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
  absltest.main()
