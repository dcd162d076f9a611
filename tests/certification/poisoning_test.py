"""The files of certificates against poisoning: written whole, read back, and damaged."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.certification import poisoning


class PoisoningTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.stem = self.folder / "seed_0"

  def _write(self, seed=0):
    poisoning.write(
      self.folder / f"seed_{seed}",
      idx=np.arange(4),
      label=np.array([0, 1, 1, 2]),
      predict=np.array([0, 1, 0, -1]),
      radius=np.array([3, 0, 5, 0]),
      orders=np.arange(24, dtype=np.uint8).reshape(4, 6, 1),
      sidecar={"unit": "replaced images", "seed": seed},
      seconds=2.0,
    )

  def test_what_is_written_is_read(self):
    self.assertFalse(poisoning.is_there(self.stem))
    self._write()
    self.assertTrue(poisoning.is_there(self.stem))
    record = poisoning.read(self.stem)
    np.testing.assert_array_equal(record.label, [0, 1, 1, 2])
    np.testing.assert_array_equal(record.predict, [0, 1, 0, -1])
    np.testing.assert_array_equal(record.radius_of_truth, [3, 0, -1, -1])
    self.assertEqual(record.sidecar, {"unit": "replaced images", "seed": 0})
    orders = poisoning.read_orders(self.stem)
    np.testing.assert_array_equal(orders.ravel(), np.arange(24))

  def test_columns_are_those_of_randomized_smoothing(self):
    self._write()
    lines = self.stem.with_suffix(".tsv").read_text().splitlines()
    self.assertEqual(lines[0], "idx\tlabel\tpredict\tradius\tcorrect\ttime")
    self.assertEqual(lines[3], "2\t1\t0\t5.0\t0\t0:00:00.500000")

  def test_victims_are_read_by_rising_seed(self):
    for seed in (10, 2):
      self._write(seed)
    seeds = [each.sidecar["seed"] for each in poisoning.read_all(self.folder)]
    self.assertEqual(seeds, [2, 10])

  @parameterized.parameters(".tsv", ".votes.npz", ".json")
  def test_a_changed_byte_is_refused(self, ending):
    self._write()
    path = self.folder / f"seed_0{ending}"
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    with self.assertRaisesRegex(errors.InputError, f"seed_0{ending}.* delete"):
      poisoning.read(self.stem)
      poisoning.read_orders(self.stem)

  @parameterized.parameters(".tsv", ".votes.npz")
  def test_a_missing_file_is_named(self, ending):
    self._write()
    (self.folder / f"seed_0{ending}").unlink()
    with self.assertRaisesRegex(errors.InputError, f"seed_0{ending} is missing: delete"):
      poisoning.read(self.stem)
      poisoning.read_orders(self.stem)


if __name__ == "__main__":
  absltest.main()
