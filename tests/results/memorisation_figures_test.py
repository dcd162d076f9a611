"""Pictures of memorisation: what their lines show."""

import numpy as np
from absl.testing import absltest

from pacd_jax.results import figures, memorisation_figures


class MemorisationFiguresTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(figures.own_style())

  def test_a_line_of_pictures_for_each_run(self):
    """Lines are means over victims: loss on the left, accuracy on the right."""
    loss, accuracy = np.array([[2.0, 1.0], [1.0, 0.5]]), np.array([[0.2, 0.4], [0.4, 1.0]])
    panels = {
      "standard": {"clean": (loss, accuracy), "random": (2.0 * loss, 0.5 * accuracy)},
      "gaussian": {"clean": (3.0 * loss, accuracy)},
    }
    figure = memorisation_figures.learning_curves(panels)
    axes = figure.axes
    self.assertLen(axes, 4)
    titles = [each.get_title(loc="left") for each in axes[::2]]
    self.assertEqual(titles, ["standard", "gaussian"])
    expected = [(loss, "clean"), (2.0 * loss, "random")]
    for line, (values, label) in zip(axes[0].get_lines(), expected, strict=True):
      np.testing.assert_array_equal(line.get_xdata(), [1, 2])
      np.testing.assert_allclose(line.get_ydata(), values.mean(axis=0))
      self.assertEqual(line.get_label(), label)
    clean = axes[1].get_lines()[0]
    np.testing.assert_allclose(clean.get_ydata(), [0.3, 0.7])
    np.testing.assert_allclose(axes[2].get_lines()[0].get_ydata(), 3.0 * loss.mean(axis=0))
    self.assertEqual(axes[3].get_lines()[-1].get_ydata()[0], 0.99)

  def test_against_the_share_of_corrupted_labels(self):
    shares = np.array([0.0, 0.5, 1.0])
    values = {"standard": np.array([0.1, 0.5, 0.9]), "gaussian": np.array([1, np.nan, 2])}
    figure = memorisation_figures.against_corruption(shares, values, "test error")
    (axes,) = figure.axes
    self.assertEqual(axes.get_ylabel(), "test error")
    for line, (name, of_one) in zip(axes.get_lines(), values.items(), strict=True):
      self.assertEqual(line.get_label(), name)
      np.testing.assert_array_equal(line.get_xdata(), shares)
      np.testing.assert_array_equal(line.get_ydata(), of_one)


if __name__ == "__main__":
  absltest.main()
