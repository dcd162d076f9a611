"""The report on an accelerator, at the smallest size on whatever device is here."""

import contextlib
import io
import pathlib
import re
import tempfile

import pytest
from absl.testing import absltest

from pacd_jax.bench import gpu_report

_TINY = gpu_report.Sizes(
  networks=(gpu_report.Network("the small CNN", "digits_ga", "smoke", (8, 8, 1), 1000),),
  products=(64,),
  num_images=4000,
  num_points=2,
  n=200,
  batch_sizes=(100,),
  victims=(1, 2),
  num_steps=1,
  config="digits_ga",
  variant="smoke",
  changes=(("rows", ("clean", "pacd")), ("model.name", "linear")),
  seconds_of_rates=0.0,
  seconds_of_run=0.0,
)


def _written(**options):
  with tempfile.TemporaryDirectory() as folder:
    out = pathlib.Path(folder, "docs", "gpu.md")
    out.parent.mkdir()
    with contextlib.redirect_stderr(io.StringIO()):
      gpu_report.write(out, pathlib.Path(folder, "run"), "", **options)
    return out.read_text()


class GpuReportTest(absltest.TestCase):
  @pytest.mark.long
  def test_has_every_part(self):
    page = _written(seconds=3600.0, sizes=_TINY)
    titles = re.findall("^## (.*)$", page, re.MULTILINE)
    self.assertEqual(
      titles,
      [
        "Certificates of the small CNN",
        "`digits_ga:smoke` in full",
        "Victims of the small CNN",
        "Attacks of the small CNN",
      ],
    )
    self.assertRegex(page, r"\| float32 \| 100 \| [\d,]+ \| [\d,]+ \|")
    self.assertRegex(page, r"\| 2 \| 50 \| [\d,.]+ \| [\d,]+ \|")
    self.assertRegex(page, r"\| authors \| 180 \+ 20, 35 \|")
    self.assertRegex(page, r"attack \d+ s, train \d+ s, certify \d+ s, report \d+ s\.")
    self.assertIn("pacd", page)

  def test_begins_nothing_that_it_has_no_time_for(self):
    page = _written(seconds=-1.0, sizes=_TINY)
    self.assertEqual(page.count("Not measured: -"), 4)

  def test_multiplications_of_resnet_20(self):
    """40.8 million, as He et al. (2015) have it, and the two 1x1 convolutions."""
    self.assertAlmostEqual(gpu_report._RESNET20 / 1e6, 40.55 + 0.26, delta=0.1)

  def test_missing_data_are_one_line(self):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
      status = gpu_report.main(["--data_dir=/nowhere", "--out=/nowhere/gpu.md"])
    self.assertEqual(status, 2)
    self.assertIn("/nowhere", said.getvalue())
    self.assertEqual(said.getvalue().count("\n"), 1)


if __name__ == "__main__":
  absltest.main()
