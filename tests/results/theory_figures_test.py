"""Pictures of the linear case show what they are given, with labels on both axes."""

import io

import numpy as np
from absl.testing import absltest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pacd_jax.results import theory_figures


def _labels(figure):
  """Every entry of the figure's legends, its own and its panels'."""
  legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
  return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


class TheoryFiguresTest(absltest.TestCase):
  def _check(self, figure, labels):
    """It can be drawn, all panels have names or share them, and the legend is whole."""
    FigureCanvasAgg(figure).print_png(io.BytesIO())
    self.assertNotEmpty([axes for axes in figure.axes if axes.get_xlabel()])
    self.assertNotEmpty([axes for axes in figure.axes if axes.get_ylabel()])
    self.assertCountEqual(_labels(figure), labels)

  def test_decision_boundaries(self):
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(2.0, 1.0, 30), rng.normal(size=30)
    figure = theory_figures.decision_boundaries(
      positive,
      negative,
      {"clean": (negative, 1.0, 0.5), "turned": (negative + 3.0, 2.5, -0.2)},
    )
    labels = ["$P^+$", "$P^-$, clean", "$P^-_{poison}$, trained on", "decision boundary"]
    self._check(figure, labels)
    for axes, threshold, left in zip(figure.axes, (1.0, 2.5), (True, False), strict=True):
      (shaded,) = axes.patches
      (boundary,) = [x for x in axes.lines if x.get_label() == "decision boundary"]
      np.testing.assert_allclose(boundary.get_xdata(), [threshold, threshold])
      ends = shaded.get_x(), shaded.get_x() + shaded.get_width()
      np.testing.assert_allclose(ends[1 if left else 0], threshold)
    self.assertLen(figure.axes[1].lines, len(figure.axes[0].lines) + 1)  # The poison.

  def test_acr_landscape(self):
    shifts = np.linspace(-2.0, 2.0, 41)
    figure = theory_figures.acr_landscape(
      {"one": (shifts, np.where(shifts < 1.0, shifts + 2.0, 0.1), 1.5)},
      {"one": (np.array([0.0, 1.2]), np.array([-1.5, 1.5]), np.array([0.5, 0.1]))},
      gap=1.0,
    )
    labels = ["ACR", "budget", "equal means: no boundary"]
    self._check(figure, [*labels, "ApproxGrad starts", "ApproxGrad ends"])
    curves = [line for line in figure.axes[0].lines if line.get_label() == "ACR"]
    self.assertLess(curves[0].get_xdata().max(), 1.0)  # No line across the jump.
    self.assertGreater(curves[1].get_xdata().min(), 1.0)

  def test_plane(self):
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(1.0, 0.3, (9, 2)), rng.normal(0.0, 0.3, (9, 2))
    clean, turned = np.array([1.0, 1.0, -1.0]), np.array([0.0, 2.0, -1.0])
    figure = theory_figures.plane(
      positive, negative, {"any": (negative - 0.1, clean, turned)}
    )
    labels = ["$x^+$", "$x^-$, clean", "$u$, trained on"]
    self._check(figure, [*labels, "boundary, clean", "boundary, poisoned"])
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for label, (w_1, w_2, b) in (("clean", clean), ("poisoned", turned)):
      x, y = lines[f"boundary, {label}"].get_data()
      np.testing.assert_allclose(w_1 * x + w_2 * y + b, 0.0, atol=1e-12)
      self.assertGreater(np.hypot(np.ptp(x), np.ptp(y)), 2.0)

  def test_shift_curves(self):
    curves = {"mean": np.array([0.0, 1.0]), "median": np.array([0.0, 0.1])}
    figure = theory_figures.shift_curves([0.0, 0.3], curves, unit="units of x")
    self._check(figure, ["mean", "median"])
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), [0.0, 30.0])

  def test_agreement(self):
    figure = theory_figures.agreement(
      np.array([0.0, 2.0]), np.array([0.1, 1.0]), x_label="a", y_label="b", title="c"
    )
    self._check(figure, ["equal"])
    self.assertEqual(figure.axes[0].get_xlim(), figure.axes[0].get_ylim())
    self.assertEqual(figure.axes[0].get_title(loc="left"), "c")


if __name__ == "__main__":
  absltest.main()
