"""Every example of docs/library.md runs as it stands, one after the other."""

import os
import pathlib
import re

import finished_run
import numpy as np
from absl.testing import absltest

import pacd_jax

_PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "library.md"


class LibraryPageTest(finished_run.FinishedRunTestCase):
  def test_every_example(self):
    root = pathlib.Path(self.workdir)
    (root / "runs").mkdir(parents=True)
    (root / "runs" / "digits_ga").symlink_to(self.finished)
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(root)
    snippets = re.findall(r"```python\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    self.assertLen(snippets, 5)
    names = {}
    for number, snippet in enumerate(snippets):
      exec(compile(snippet, f"library.md, example {number}", "exec"), names)
      if number == 0:
        np.testing.assert_array_equal(names["prediction"], [0, 1])
        distance = 8.0 * np.array([0.3, 0.2])
        self.assertTrue((names["radius"] <= distance).all())
        self.assertTrue((names["radius"] > 0.7).all())
    self.assertTrue((root / "my_run" / "poison" / "brightness.npz").exists())
    self.assertTrue((names["poison"].images > names["poison"].base_images).any())
    self.assertBetween(names["acr"]["poisoned"], 0.0, names["acr"]["clean"])
    np.testing.assert_allclose(names["gradient"], [0.5, 0.25], rtol=1e-6)
    self.assertLen(names["radii"], len(names["run"].certify.indices))

  def test_every_public_name_is_there_and_has_a_docstring(self):
    for name in pacd_jax.__all__:
      self.assertTrue(getattr(pacd_jax, name).__doc__, name)


if __name__ == "__main__":
  absltest.main()
