"""Pictures of what defences do: one row for each state, the images evenly spaced."""

import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax.results import transform_figures


class ChangesTest(parameterized.TestCase):
  @parameterized.parameters(1, 3)
  def test_rows_and_images(self, channels):
    shape = 9, 4, 5, channels
    before = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    figure = transform_figures.changes(
      {"original": before, "after jpeg": 255 - before}, title="pacd", num_images=3
    )
    self.assertLen(figure.axes, 6)
    self.assertEqual(figure.axes[3].get_ylabel(), "after jpeg")
    for axes, place in zip(figure.axes, (0, 4, 8) * 2, strict=True):
      wanted = before[place] if axes in figure.axes[:3] else 255 - before[place]
      shown = axes.get_images()[0].get_array()
      np.testing.assert_array_equal(shown, wanted.squeeze() if channels == 1 else wanted)

  def test_few_images(self):
    figure = transform_figures.changes({"original": np.zeros((2, 4, 4, 1), np.uint8)})
    self.assertLen(figure.axes, 2)


if __name__ == "__main__":
  absltest.main()
