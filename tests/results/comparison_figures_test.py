"""The picture of a comparison shows every method at every epsilon."""

import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from pacd_jax.results import comparison_figures, figures


def _curves(epsilons, names):
  """ACRs that fall with epsilon, and times of tens of seconds; none for clean data."""
  ones = np.ones(len(epsilons))
  curves = {"clean": comparison_figures.Curve(0.3 * ones, 0.01 * ones, np.nan * ones)}
  for number, name in enumerate(names):
    means = 0.3 - np.asarray(epsilons) * (1 + number) / len(names)
    curves[name] = comparison_figures.Curve(means, 0.02 * ones, (5.0 + number) * ones)
  return curves


class ComparisonTest(parameterized.TestCase):
  @parameterized.parameters(((0.1,), 1), ((0.05, 0.1, 0.2, 0.3), 10))
  def test_every_method_at_every_epsilon(self, epsilons, num_methods):
    names = ["pacd", *(f"method {number}" for number in range(num_methods - 1))]
    curves = _curves(epsilons, names)
    figure = comparison_figures.comparison(epsilons, curves)
    *panels, lines = figure.axes
    self.assertLen(panels, len(epsilons))
    for axes, epsilon in zip(panels, epsilons, strict=True):
      self.assertEqual(axes.get_title(loc="left"), f"epsilon {epsilon:g}")
      self.assertEqual(axes.get_xscale(), "log")
      self.assertLen(axes.containers, num_methods)  # Points with their bars.
    self.assertLen(lines.containers, num_methods + 1)  # And clean data at 0.
    for name, container in zip(["clean", *names], lines.containers, strict=True):
      np.testing.assert_allclose(container.lines[0].get_ydata()[0], curves[name].means[0])
    (legend,) = figure.legends
    self.assertEqual([text.get_text() for text in legend.get_texts()], ["clean", *names])
    # No two methods look alike.
    looks = {(c[0].get_color(), c[0].get_marker()) for c in lines.containers}
    self.assertLen(looks, num_methods + 1)
    path = self.enterContext(tempfile.TemporaryDirectory()) + "/compare.png"
    figures.save(figure, path)
    with Image.open(path) as image:
      pixels = np.asarray(image.convert("RGB"))
    self.assertGreater(pixels.std(), 5.0)
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
      self.assertGreaterEqual(edge.min(), 250)  # Nothing is cut off.

  def test_where_nothing_is_left_there_is_a_picture(self):
    curves = _curves((0.1, 0.2), ["pacd"])
    curves = {
      name: curve._replace(means=0.0 * curve.means) for name, curve in curves.items()
    }
    curves = {name: curve._replace(stds=0.0 * curve.stds) for name, curve in curves.items()}
    figure = comparison_figures.comparison((0.1, 0.2), curves, ylabel="ACA %")
    low, high = figure.axes[-1].get_ylim()
    self.assertLess(low, 0.0)
    self.assertGreater(high, 0.0)
    self.assertEqual(figure.axes[0].get_ylabel(), "ACA %")

  def test_a_method_whose_time_is_not_known_has_no_point_against_time(self):
    curves = _curves((0.1,), ["pacd", "given"])
    curves["given"].seconds[:] = np.nan
    panel, lines = comparison_figures.comparison((0.1,), curves).axes
    self.assertLen(panel.containers, 1)
    self.assertLen(lines.containers, 3)


if __name__ == "__main__":
  absltest.main()
