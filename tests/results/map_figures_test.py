"""The heat map: a cell for each ratio, grey where there is none, bold where it tells."""

import pathlib
import tempfile

from absl.testing import absltest

from pacd_jax.results import figures, map_figures

_PANELS = {
  "norm linf": {
    (0.1, 1.0): (0.8, 0.7, 0.9),
    (0.1, 0.25): (1.0, 0.9, 1.1),
    (0.2, 1.0): (0.1, 0.0, 0.2),
  },
  "norm l2": {(0.5, 1.0): (1.5, 1.2, 1.8), (1.0, 1.0): (0.9, 0.8, 0.95)},
}


class RatiosTest(absltest.TestCase):
  def test_cells_stand_at_their_settings(self):
    figure = map_figures.ratios(_PANELS, xlabel="epsilon", ylabel="alpha")
    linf, l2 = figure.axes[:2]
    self.assertEqual([axes.get_title() for axes in (linf, l2)], list(_PANELS))
    ticks = [tick.get_text() for tick in linf.get_xticklabels()]
    self.assertEqual(ticks, ["0.1", "0.2"])
    self.assertEqual([t.get_text() for t in linf.get_yticklabels()], ["0.25", "1"])
    values = linf.images[0].get_array()
    self.assertEqual(values.mask.tolist(), [[False, True], [False, False]])
    self.assertEqual(values[1].tolist(), [0.8, 0.1])
    texts = {text.get_text().split("\n")[0]: text.get_weight() for text in linf.texts}
    self.assertEqual(texts, {"0.80": "bold", "1.00": "normal", "0.10": "bold"})

  def test_is_drawn(self):
    figure = map_figures.ratios(_PANELS, xlabel="epsilon", ylabel="alpha")
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, "map.png")
      figures.save(figure, path)
      self.assertEqual(path.read_bytes()[:4], b"\x89PNG")


if __name__ == "__main__":
  absltest.main()
