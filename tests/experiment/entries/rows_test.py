"""Rows without a bilevel solve, from the config to the images that are saved."""

import functools

import asked
import finished_run
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.data import arrays, training_sets
from pacd_jax.experiment import kinds

_MADE = tuple(row for row in kinds.ROWS.names if row not in ("clean", "pacd"))
_ROWS = tuple(
  row for row in _MADE if kinds.ROWS[row].is_bounded and not kinds.ROWS[row].is_targeted
)


@functools.cache
def _images(row, seed=0, **changes):
  """The row's images before rounding."""
  changes = {name.replace("__", "."): value for name, value in changes.items()}
  return _plan(seed=seed, **changes).baselines[row]()


def _plan(**changes):
  config = finished_run.smoke(**{"model.name": "linear"} | changes)
  return asked.build(config, "unused")


class BaselineRowsTest(parameterized.TestCase):
  def test_there_is_an_attack_for_every_row(self):
    self.assertCountEqual(_plan().baselines, _MADE)

  @parameterized.parameters(*_ROWS)
  def test_a_row_is_in_the_budget_and_unlike_the_others(self, row):
    splits = _plan().splits
    base = arrays.to_float(splits.train.images[arrays.class_indices(splits.train, 8)])
    self.assertEqual(_images(row).shape, base.shape)
    self.assertBetween(np.abs(_images(row) - base).max(), 0.05, 0.1 + 1e-6)
    for other in _ROWS[: _ROWS.index(row)]:
      self.assertGreater(np.abs(_images(row) - _images(other)).max(), 0.01)

  @parameterized.parameters(
    *("watermark", "classwise", "random", "brightness", "convolution", "lsp", "ar")
  )
  def test_a_share_of_the_class_is_changed_as_all_of_it(self, row):
    """And every other image of the training split stays as it is, to the bit."""
    plan = _plan(**{"attack.poisoned_fraction": 0.3})
    clean = plan.splits.train
    poison = plan.training_sets.made(plan.baselines[row]())
    self.assertLen(poison.images, 31)
    np.testing.assert_array_equal(poison.indices, plan.poisoned)
    changed = training_sets.poisoned(clean, poison).images
    others = np.delete(np.arange(len(changed)), plan.poisoned)
    np.testing.assert_array_equal(changed[others], clean.images[others])
    whole = training_sets.poisoned(clean, _plan().training_sets.made(_images(row))).images
    np.testing.assert_array_equal(changed[plan.poisoned], whole[plan.poisoned])
    self.assertTrue((changed != clean.images)[plan.poisoned].any(axis=(1, 2, 3)).all())

  def test_the_targeted_class_is_counted_from_the_target_and_goes_round(self):
    splits = _plan().splits
    most = splits.num_classes - 1
    row = {"rows": ("clean", "targeted_adversarial")}
    _plan(**row, **{"targeted_adversarial.shift": most})
    with self.assertRaisesRegex(errors.InputError, f"shift is 10, .* use at most {most}"):
      _plan(**row, **{"targeted_adversarial.shift": most + 1})
    _plan(**{"targeted_adversarial.shift": most + 1})  # A row that the run has not.

  @parameterized.parameters("robust_error_minimizing", "hypocritical", "deferred")
  def test_a_row_that_takes_no_adversary_says_so_before_any_work(self, row):
    changes = {"attack.loss": "smoothadv"}
    _plan(rows=("clean", "classwise"), **changes)
    named = f"row {row} takes a training loss without an adversary, .* 'smoothadv': use"
    with self.assertRaisesRegex(errors.InputError, named):
      _plan(rows=("clean", row), **changes)
    _plan(rows=("clean", row), **changes | {"attack.loss": "standard"})

  @pytest.mark.long
  def test_a_loss_that_is_not_finite_ends_the_row(self):
    named = "attack/error_minimizing, step 1: loss is"
    with self.assertRaisesRegex(errors.NonFiniteError, named):
      _images("error_minimizing", **{"attack__learning_rate": 1e38})


if __name__ == "__main__":
  absltest.main()
