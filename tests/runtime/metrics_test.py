"""Metrics files: appended, rewound by stage, and never a number that is not finite."""

import json
import os
import pathlib
import tempfile
from unittest import mock

import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.runtime import metrics


class MetricsFileTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self._path = pathlib.Path(folder) / "metrics.jsonl"
    self._file = metrics.MetricsFile(self._path)

  def _records(self):
    return [json.loads(line) for line in self._path.read_text().splitlines()]

  def _steps(self):
    return [(record["stage"], record["step"]) for record in self._records()]

  def _write_three_stages(self):
    """attack 0..4 with train/clean 0..2 between them, then train 3; returns these."""
    steps = [("attack", 0), ("train/clean", 0), ("attack", 1), ("attack", 2)]
    steps += [("train/clean", 1), ("attack", 3), ("train/clean", 2), ("attack", 4)]
    steps += [("train", 3)]
    for stage, step in steps:
      self._file.write(stage, step, {"loss": 0.5 * step})
    return steps

  def test_one_line_for_each_step(self):
    self._file.write("attack", 0, {"upper": 0.25, "restart": True})
    self._file.write("train/clean", 7, {"loss": 1.5, "count": 3})
    self.assertEqual(
      self._path.read_text(),
      '{"stage": "attack", "step": 0, "upper": 0.25, "restart": true}\n'
      '{"stage": "train/clean", "step": 7, "loss": 1.5, "count": 3}\n',
    )

  @parameterized.named_parameters(
    ("numpy_scalar", np.float64(0.1), 0.1),
    ("jax_scalar", jnp.float32(0.1), float(np.float32(0.1))),
    ("jax_integer", jnp.int32(3), 3),
    ("jax_bool", jnp.array(True), True),
    ("vector", jnp.arange(3) / 2, [0.0, 0.5, 1.0]),
    ("matrix", np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
    ("empty", np.zeros(0), []),
  )
  def test_arrays_become_numbers_and_lists(self, value, expected):
    self._file.write("train/clean", 0, {"value": value})
    (record,) = self._records()
    self.assertEqual(record["value"], expected)
    self.assertIs(type(record["value"]), type(expected))

  @parameterized.parameters(0, 2, 4, 5)
  def test_rewinding_drops_the_stage_from_a_step_on(self, step):
    written = self._write_three_stages()
    before = self._path.read_text().splitlines()
    self._file.rewind("attack", step)
    kept = [i for i, (stage, s) in enumerate(written) if stage != "attack" or s < step]
    self.assertEqual(self._path.read_text().splitlines(), [before[i] for i in kept])

  def test_a_stage_is_not_its_prefix(self):
    written = self._write_three_stages()
    self._file.rewind("train", 0)
    self.assertEqual(self._steps(), written[:-1])

  def test_rewinding_drops_a_last_line_cut_anywhere(self):
    written = self._write_three_stages()
    whole = self._path.read_text()
    size = len(whole.splitlines()[-1])
    for cut in range(2, size + 1):
      self._path.write_text(whole[:-cut])
      self._file.rewind("attack", 5)
      self.assertEqual(self._steps(), written[:-1])
      self._file.write("attack", 5, {"loss": 1.0})
      self.assertEqual(self._steps(), [*written[:-1], ("attack", 5)])

  def test_a_last_line_that_lacks_only_its_end_is_kept(self):
    written = self._write_three_stages()
    self._path.write_text(self._path.read_text()[:-1])
    self._file.rewind("attack", 5)
    self._file.write("attack", 5, {"loss": 1.0})
    self.assertEqual(self._steps(), [*written, ("attack", 5)])

  @parameterized.parameters("\0\0\0", "[1, 2]", "3", '{"step": 1}', '{"stage": "attack"}')
  def test_a_line_that_is_no_record_is_dropped(self, line):
    written = self._write_three_stages()
    with open(self._path, "a") as file:
      file.write(line + "\n")
    self._file.rewind("attack", 5)
    self.assertEqual(self._steps(), written)

  def test_seconds_are_those_of_the_stages_last_line(self):
    self.assertEqual(self._file.seconds("attack"), 0.0)
    for stage, step in (("attack", 0), ("attack", 1), ("train", 0)):
      self._file.write(stage, step, {"seconds": 2.5 + step})
    self._file.write("old", 0, {"loss": 1.0})
    self.assertEqual(self._file.seconds("attack"), 3.5)
    self._file.rewind("attack", 1)
    self.assertEqual(self._file.seconds("attack"), 2.5)
    self.assertEqual([self._file.seconds(stage) for stage in ("old", "none")], [0.0, 0.0])

  def test_rewinding_nothing_makes_nothing(self):
    self._file.rewind("attack", 0)
    self.assertFalse(self._path.exists())

  def test_a_crash_while_rewinding_loses_nothing(self):
    self._write_three_stages()
    before = self._path.read_bytes()
    with (
      mock.patch.object(os, "replace", side_effect=KeyboardInterrupt),
      self.assertRaises(KeyboardInterrupt),
    ):
      self._file.rewind("attack", 0)
    self.assertEqual(self._path.read_bytes(), before)


class CheckFiniteTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ("nan", float("nan"), "nan"),
    ("infinity", float("inf"), "inf"),
    ("minus_infinity", np.float32(-np.inf), "-inf"),
    ("jax_scalar", jnp.float32(jnp.nan), "nan"),
    ("numpy_array", np.array([1.0, np.nan, 2.0]), "nan"),
    ("jax_array", jnp.array([[1.0, 2.0], [jnp.inf, 3.0]]), "inf"),
  )
  def test_names_stage_step_and_value(self, value, shown):
    values = {"lower": 1.0, "upper": value, "steps": 3}
    with self.assertRaises(errors.NonFiniteError) as caught:
      metrics.check_finite("train/pacd", 17, values)
    message = str(caught.exception)
    self.assertLen(message.splitlines(), 1)
    for word in ("stage train/pacd", "step 17", "upper", shown):
      self.assertIn(word, message)
    self.assertNotIn("lower is", message)

  def test_finite_values_pass(self):
    largest = np.finfo(np.float32).max
    values = {"loss": 0.1, "flag": True, "count": 3, "many": jnp.full(4, -largest)}
    metrics.check_finite("attack", 0, values)
    metrics.check_finite("attack", 0, {})


if __name__ == "__main__":
  absltest.main()
