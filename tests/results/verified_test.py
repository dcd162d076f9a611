"""What tables say of verified balls, beside the rows of smoothed classifiers."""

import json
import pathlib
import tempfile

import made_up_run
from absl.testing import absltest

from pacd_jax import errors
from pacd_jax.results import collect, matrix, tables, verified

_BALLS = {
  "procedure": "ibp",
  "norm": "linf",
  "epsilon": 0.1,
  "most": 0.5,
  "accuracy": [0.5, 0.75, 1.0],
  "accuracy_mean": 0.75,
  "accuracy_std": 0.25,
  "accuracy_of_all": [0.9, 0.9, 0.9],
  "accuracy_of_all_mean": 0.9,
  "accuracy_of_all_std": 0.0,
}


class VerifiedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    self.smoothed = made_up_run.make_run(self.folder / "smoothed", ["clean", "pacd"])
    # As a run without votes has them.
    self.results = json.loads(json.dumps(self.smoothed)) | {"sigma": 0.0}
    for row in self.results["rows"]:
      row |= dict.fromkeys(("mode", "n0", "n", "alpha", "bound"))
      row[verified.FIELD] = _BALLS

  def test_table(self):
    text = tables.table(self.results)
    self.assertIn("75.0 ± 25.0", text)
    self.assertIn("certified without noise by ibp: radii in l_inf, looked for up to", text)
    self.assertNotIn("sigma", text)
    self.assertNotIn("verified", tables.table(self.smoothed))

  def test_collected_lines_tell_procedures_apart(self):
    (self.folder / "balls").mkdir()
    (self.folder / "balls" / "results.json").write_text(json.dumps(self.results))
    balls, _, smoothed, _ = lines = collect.collect([self.folder])
    self.assertEqual((balls["procedure"], balls["certified_norm"]), ("ibp", "linf"))
    self.assertEqual(balls["verified_mean"], 0.75)
    self.assertEqual(balls["verified_of_all_mean"], 0.9)
    self.assertIsNone(smoothed["procedure"])
    text = collect.table(lines)
    self.assertIn("ibp (linf)", text)
    self.assertIn(" 0.25 ", text)

  def test_a_transfer_has_one_procedure(self):
    with self.assertRaisesRegex(errors.InputError, "differ in"):
      matrix.collect({"a": self.smoothed, "b": self.results})
    other = json.loads(json.dumps(self.results))
    for row in other["rows"]:
      row[verified.FIELD]["norm"] = "l2"
    with self.assertRaisesRegex(errors.InputError, "differ in certified_norm"):
      matrix.collect({"a": self.results, "b": other})


if __name__ == "__main__":
  absltest.main()
