"""Images and labels at the edge of what an experiment can be made of."""

import pathlib
import tempfile

import asked
import finished_run
import long
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import door

_BASELINES = (
  *("watermark", "classwise", "brightness", "random", "convolution"),
  *("error_minimizing", "targeted_adversarial", "lsp", "ar"),
  *("robust_error_minimizing", "hypocritical", "deferred"),
)
_TWO, _SHAPE = np.arange(60) % 2, (4, 4, 1)  # Labels of two classes; pixels.
_FEW = np.repeat([0, 1], [60, 3])  # Three images of class 1.


def _images(count, shape=_SHAPE):
  return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def _arrays(labels, test_labels=None, shape=_SHAPE):
  found = {"images": _images(len(labels), shape), "labels": labels}
  if test_labels is not None:
    found["test_images"] = _images(len(test_labels), shape)
    found["test_labels"] = test_labels
  return found


class EdgeDataTest(parameterized.TestCase):
  def temporary(self):
    return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def config(self, arrays, **changes):
    folder = self.temporary()
    np.savez(folder / "images.npz", **arrays)
    sizes = {
      "attack.clean_batch": 4,
      "attack.poison_batch": 2,
      "attack.val_batch": 1,
      "train.batch_size": 5,
      "certify.num_points": 1,
    }
    data = {
      "data.name": "npz",
      "data.path": str(folder / "images.npz"),
      "data.target_class": 1,
    }
    return finished_run.smoke(**data | sizes | changes)

  @parameterized.named_parameters(
    ("no_image", _arrays(_TWO[:0]), "images are empty"),
    ("one_image", _arrays(_TWO[:1]), "all labels are 0: two classes at least"),
    ("one_class", _arrays(np.zeros(60, int)), "all labels are 0: two classes at least"),
    ("few_of_a_class", _arrays(_FEW), "class 1 has 3 images: .* at least 5"),
    ("test_of_no_image", _arrays(_TWO, _TWO[:0]), "test_images are empty"),
    (
      "test_lacks_the_class",
      _arrays(_TWO, np.zeros(20, int)),
      "target_class=1 has no image in the test split: use one of 0, or add",
    ),
    (
      "validation_lacks_the_class",
      _arrays(_FEW, _TWO[:20]),
      "target_class=1 has no image in the validation split: use one of 0, or add",
    ),
    (
      "test_of_further_classes",
      _arrays(_TWO, np.arange(20) % 4),
      "test_labels hold class 3, which labels lack",
    ),
  )
  def test_refused_before_any_work(self, arrays, message):
    with self.assertRaisesRegex(errors.InputError, message) as caught:
      asked.run(self.config(arrays), self.temporary())
    self.assertNotIn("\n", str(caught.exception))

  def test_points_are_counted_in_the_split_that_is_certified(self):
    sizes = {"certify.split": "validation", "certify.num_points": 6}
    config = self.config(_arrays(_TWO, _TWO[:20]), **sizes)
    with self.assertRaisesRegex(errors.InputError, "certify.num_points is 6.*at most 3"):
      door.build(door.parse(config), self.temporary())

  @parameterized.parameters(
    (_arrays(_TWO, shape=(1, 1, 1)),),  # One pixel.
    (_arrays(_TWO, shape=(1, 9, 1)),),  # One row.
    (_arrays(_TWO, shape=(3, 7, 3)),),  # Not square.
    ({"images": np.zeros((60, *_SHAPE), np.uint8), "labels": _TWO},),  # Black.
    ({"images": np.full((60, *_SHAPE), 255, np.uint8), "labels": _TWO},),  # White.
    (_arrays(_TWO, np.ones(1, int)),),  # One test image.
  )
  @long.after(0)
  def test_every_row_runs(self, arrays):
    config = self.config(arrays, rows=("clean", *_BASELINES, "pacd"))
    table = asked.run(config, self.temporary())
    for row in (*_BASELINES, "pacd"):
      self.assertRegex(table, rf"(?m)^{row} ")


if __name__ == "__main__":
  absltest.main()
