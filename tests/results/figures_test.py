"""Pictures are of the promised size, not blank, and show every row."""

import os
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from pacd_jax.results import figures

# As results.json has them: dashes of JSON are lists.
_STYLES = {
  "clean": ("#0072B2", "-"),
  "watermark": ("#E69F00", [0, [5, 2]]),
  "classwise": ("#009E73", [0, [5, 1.5, 1, 1.5]]),
  "pacd": ("#D55E00", "-"),
}
_ROWS = ("clean", "watermark", "classwise", "pacd", "another", "a third")
_ORANGE_RED = (0xD5, 0x5E, 0x00)  # Of pacd, in every picture.


def _curves(names, num_victims=5):
  rng = np.random.default_rng(0)
  radii = np.linspace(0.0, 1.0, 50)
  start = {name: rng.uniform(0.5, 1.0, (num_victims, 1)) for name in names}
  accuracies = {name: value * (1.0 - radii[None]) for name, value in start.items()}
  acrs = {name: value[:, 0] / 2.0 for name, value in start.items()}
  return radii, accuracies, acrs


def _images(num_channels, num_images=10):
  rng = np.random.default_rng(1)
  base = rng.integers(0, 256, (num_images, 8, 8, num_channels), dtype=np.uint8)
  change = rng.integers(-25, 26, base.shape)
  return base, np.clip(base + change, 0, 255).astype(np.uint8)


def _attack_metrics(num_steps=40, **changes):
  step = np.arange(num_steps)
  metrics = {
    "step": step,
    "upper": 0.3 * np.exp(-step / 20),
    "lower": np.exp(-step / 10),
    "relative_residual": np.full(num_steps, 0.1),
    "negative_curvature": np.zeros(num_steps, bool),
    "restart": np.zeros(num_steps, bool),
  }
  return metrics | changes


def _texts(legend):
  return [text.get_text() for text in legend.get_texts()]


def _lines(axes):
  """The lines that a legend names."""
  return [line for line in axes.lines if not line.get_label().startswith("_")]


class FiguresTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self.enterContext(tempfile.TemporaryDirectory()) + "/picture.png"

  def saved(self, figure):
    """The decoded picture, after a look at its size and that it is not blank."""
    figures.save(figure, self.path)
    self.assertEqual(os.listdir(os.path.dirname(self.path)), ["picture.png"])
    with Image.open(self.path) as image:
      pixels = np.asarray(image.convert("RGB"))
    width, height = (figure.get_size_inches() * figures.DPI).astype(int)
    self.assertEqual(pixels.shape, (height, width, 3))
    self.assertGreater(pixels.std(), 5.0)
    # A picture whose parts were cut off at an edge has ink there.
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
      self.assertGreaterEqual(edge.min(), 250)
    return pixels

  @parameterized.parameters(1, 4, 6)
  def test_certified_accuracy_has_a_line_for_each_row(self, num_rows):
    radii, accuracies, acrs = _curves(_ROWS[:num_rows])
    figure = figures.certified_accuracy(
      radii, accuracies, acrs, max_radius=0.8, styles=_STYLES
    )
    self.saved(figure)
    (axes,) = figure.axes
    lines = _lines(axes)
    self.assertLen(lines, num_rows)
    self.assertLen(axes.collections, num_rows)
    self.assertLen(
      {(line.get_color(), str(line._dash_pattern)) for line in lines}, num_rows
    )
    for name, line, text in zip(_ROWS, lines, _texts(axes.get_legend()), strict=False):
      np.testing.assert_allclose(line.get_ydata(), accuracies[name].mean(axis=0))
      self.assertEqual(text, f"{name}: ACR {acrs[name].mean():.3f}")
    self.assertIn("image units", axes.get_xlabel())

  def test_band_is_one_standard_deviation(self):
    radii = np.array([0.0, 1.0])
    accuracies = {"clean": np.array([[0.9, 0.2], [0.7, 0.2], [0.5, 0.2]])}
    figure = figures.certified_accuracy(radii, accuracies, {"clean": np.ones(3)})
    outline = figure.axes[0].collections[0].get_paths()[0].vertices
    at_start = outline[outline[:, 0] == 0.0, 1]
    np.testing.assert_allclose([at_start.min(), at_start.max()], [0.5, 0.9])

  def test_one_victim_can_be_drawn(self):
    self.saved(figures.certified_accuracy(*_curves(["pacd"], num_victims=1)))

  def test_top_probability_is_the_empirical_distribution(self):
    p_a = {"clean": np.array([[1.0, 0.75], [0.5, 0.75]]), "pacd": np.full((2, 2), 0.25)}
    figure = figures.top_probability(p_a)
    self.saved(figure)
    (axes,) = figure.axes
    clean, pacd = _lines(axes)
    self.assertEqual(
      sorted(set(zip(clean.get_xdata(), clean.get_ydata(), strict=True))),
      [(0.5, 0.0), (0.5, 0.25), (0.75, 0.5), (0.75, 0.75), (1.0, 1.0)],
    )
    self.assertEqual(pacd.get_ydata()[-1], 1.0)
    self.assertEqual(
      _texts(axes.get_legend()),
      ["clean: 25 % at or below 1/2", "pacd: 100 % at or below 1/2"],
    )

  @parameterized.product(num_channels=(1, 3), num_images=(1, 5, 10))
  def test_gallery_shows_three_rows(self, num_channels, num_images):
    figure = figures.gallery(*_images(num_channels, num_images), title="pacd")
    self.saved(figure)
    shown = [axes for axes in figure.axes if axes.images]
    self.assertLen(shown, 3 * min(8, num_images))

  @parameterized.parameters((1, 10), (3, 5))
  def test_gallery_states_the_magnification(self, num_channels, factor):
    """The largest change, 25 of 255, fills the range: 255 // 25 or 127 // 25 times."""
    base, images = _images(num_channels)
    figure = figures.gallery(base, images, num_images=2)
    labels = [axes.get_ylabel() for axes in figure.axes[:6:2]]
    self.assertEqual(labels, ["original", "poison", f"difference\n×{factor}"])
    drawn = figure.axes[4].images[0]
    change = images[0].astype(float) - base[0]
    if num_channels == 1:
      np.testing.assert_allclose(drawn.get_array(), change[..., 0] / 255.0)
      self.assertEqual(drawn.get_clim(), (-1.0 / factor, 1.0 / factor))
    else:
      np.testing.assert_allclose(drawn.get_array(), 0.5 + factor * change / 255.0)

  def test_gallery_of_equal_images(self):
    base, _ = _images(1)
    self.saved(figures.gallery(base, base))

  def test_attack_curves_mark_events(self):
    negative, restart = np.zeros((2, 40), bool)
    negative[[3, 5]] = restart[[0, 20]] = True
    residual = np.full(40, 0.1)
    residual[[5, 7, 8]] = 0.0  # No line, and no curvature either: nothing was solved.
    metrics = _attack_metrics(
      negative_curvature=negative, restart=restart, relative_residual=residual
    )
    figure = figures.attack_curves(metrics)
    self.saved(figure)
    top, middle, bottom = figure.axes
    np.testing.assert_array_equal(top.lines[-1].get_ydata(), metrics["upper"])
    np.testing.assert_array_equal(middle.lines[-1].get_ydata(), metrics["lower"])
    self.assertEqual(bottom.get_yscale(), "log")
    self.assertEqual(
      _texts(figure.legends[0]),
      [
        "surrogate restarted",
        "negative curvature (1 of 40)",
        "zero upper gradient (3 of 40)",
      ],
    )

  def test_attack_curves_without_events_need_no_legend(self):
    figure = figures.attack_curves(_attack_metrics())
    self.saved(figure)
    self.assertEmpty(figure.legends)

  def test_attack_curves_of_one_unsolved_step(self):
    self.saved(figures.attack_curves(_attack_metrics(1, relative_residual=np.zeros(1))))

  @parameterized.parameters(1, 3)
  def test_overview_joins_gallery_and_curves(self, num_channels):
    figure = figures.overview(*_images(num_channels), *_curves(_ROWS[:4]))
    self.saved(figure)
    self.assertLen([axes for axes in figure.axes if axes.images], 12)
    self.assertLen(_lines(figure.axes[-1]), 4)

  @parameterized.product(num_victims=(1, 4), num_rows=(1, 6))
  def test_transfer_has_a_bar_for_every_victim_and_row(self, num_victims, num_rows):
    rng = np.random.default_rng(0)
    rows = {
      name: (rng.uniform(0.1, 1.0, num_victims), np.full(num_victims, 0.05))
      for name in _ROWS[:num_rows]
    }
    names = ["gaussian", "macer", "smoothadv", "standard"][:num_victims]
    figure = figures.transfer(names, {"ACR": rows, "ACA %": rows})
    self.saved(figure)
    for axes, title in zip(figure.axes, ("ACR", "ACA %"), strict=True):
      self.assertEqual(axes.get_title(loc="left"), title)
      heights = [bar.get_height() for bar in axes.patches]
      np.testing.assert_allclose(heights, np.concatenate([m for m, _ in rows.values()]))
      self.assertEqual([t.get_text() for t in axes.get_xticklabels()], names)
    legend = _texts(figure.legends[0])
    self.assertLen(legend, num_rows)
    self.assertEqual(legend[0], "clean data")

  def test_a_row_keeps_its_colour(self):
    """Whatever other rows there are, and in either picture."""
    pictures = (
      figures.certified_accuracy(*_curves(["pacd"]), styles=_STYLES),
      figures.certified_accuracy(*_curves(_ROWS), styles=_STYLES),
      figures.top_probability(
        {"another": np.ones((1, 2)), "pacd": np.ones((1, 2))}, _STYLES
      ),
    )
    for figure in pictures:
      pixels = self.saved(figure).reshape(-1, 3)
      self.assertTrue((pixels == _ORANGE_RED).all(axis=1).any())


if __name__ == "__main__":
  absltest.main()
