"""The script that measures what `unshift` gives back, on a tiny finished run."""

import importlib.util
import pathlib
import tempfile

import asked
import finished_run
import numpy as np
import pytest
from absl.testing import absltest

_SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "heavy" / "unshift_share.py"


def _script():
  spec = importlib.util.spec_from_file_location("unshift_share", _SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


class TableTest(absltest.TestCase):
  def test_shares_are_means_and_deviations_over_draws(self):
    script = _script()
    before, after = np.array([0.1, 0.2]), np.array([[0.2, 0.3], [0.3, 0.4]])
    lines = [
      script.Line("run", "pacd", before, after, np.array([0.5, 0.7])),
      script.Line("run", "clean", before, after[:1], np.array([0.01])),
    ]
    _, of_pacd, of_clean = script.table(lines).splitlines()
    self.assertRegex(of_pacd, r"0.150 \+- 0.071 +0.300 \+- 0.082  60.0 \+- 14.1 % given")
    self.assertRegex(of_clean, r"0.250 \+- 0.071  1.0 \+- nan % lost")


class MeasureTest(absltest.TestCase):
  @pytest.mark.long
  def test_a_finished_run(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "run")
    fields = {"train.num_epochs": 60, "certify.n": 500, "rows": ("clean", "brightness")}
    asked.run(
      finished_run.smoke(**fields), folder, ("attack", "train", "certify", "report")
    )
    rows = {row["data"]: row for row in finished_run.results(folder)["rows"]}
    options = dict(draws=2, num_trusted=20, n=500, data_dir="")
    clean, brightness = _script().measure(str(folder), [], **options)
    for line in (clean, brightness):
      np.testing.assert_allclose(line.before, rows[line.row]["acr"], atol=1e-9)
      self.assertEqual(line.after.shape, (2, len(line.before)))
    mean = clean.before.mean()
    self.assertGreater(mean, 0.05)
    np.testing.assert_allclose(clean.share, 1 - clean.after.mean(axis=1) / mean)
    self.assertLess(np.abs(clean.share).max(), 0.2)
    gained = brightness.after.mean(axis=1) - brightness.before.mean()
    np.testing.assert_allclose(brightness.share, gained / (mean - brightness.before.mean()))


if __name__ == "__main__":
  absltest.main()
