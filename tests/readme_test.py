"""The README's Python runs as it stands, where a demo has been run."""

import os
import pathlib
import re

import finished_run
from absl.testing import absltest

from pacd_jax.data import poison_file
from pacd_jax.experiment import kinds

_README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def _snippets():
  return re.findall(r"```python\n(.*?)```", _README.read_text(encoding="utf-8"), re.DOTALL)


class ReadmeTest(finished_run.FinishedRunTestCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(os.chdir, os.getcwd())
    root = pathlib.Path(self.workdir)
    (root / "runs").mkdir(parents=True)
    (root / "runs" / "digits_ga").symlink_to(self.finished)
    os.chdir(root)

  def _run(self, number):
    names = {}
    exec(compile(_snippets()[number], f"README.md, snippet {number}", "exec"), names)
    return names

  def test_there_are_four(self):
    self.assertLen(_snippets(), 4)

  def test_a_poison_becomes_a_training_set(self):
    found = self._run(0)
    self.assertLen(found["train"].present, len(found["splits"].train.labels))

  def test_a_victim_is_certified(self):
    self.assertLen(self._run(1)["prediction"], 5)

  def test_a_poison_is_written(self):
    self._run(2)
    self.assertEqual(poison_file.load("mine.npz").target_class, 8)

  def test_a_loss_is_added(self):
    self.addCleanup(kinds.LOSSES.remove, "louder")
    self._run(3)
    self.assertIn("louder", kinds.LOSSES)


if __name__ == "__main__":
  absltest.main()
