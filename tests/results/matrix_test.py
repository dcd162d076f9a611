"""The transfer's numbers, worked out by hand."""

from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.results import matrix


def _row(data, acr, aca, **changes):
  row = {"data": data, "num_seeds": 2, "num_points": 5, "split": "test", "mode": "fixed"}
  row |= {"dtype": "float32", "n0": 10, "n": 100, "alpha": 0.001, "bound": "exact"}
  for name, value in (("acr", acr), ("aca", aca), ("class_accuracy", aca)):
    row |= {f"{name}_mean": value, f"{name}_std": None if value is None else 0.01}
  return row | changes


def _results(rows, **changes):
  words = {"dataset": "digits", "description": "digits", "target_class": 8, "sigma": 0.25}
  words |= {"epsilon": 0.2, "norm": "linf", "model": "mlp", "training": "gaussian"}
  return words | {"rows": rows} | changes


def _matrix():
  gaussian = [_row("clean", 0.4, 0.9), _row("pacd", 0.1, 0.5)]
  macer = [_row("clean", 0.5, 0.8), _row("pacd", 0.2, 0.6)]
  return matrix.collect(
    {"ga": _results(gaussian), "macer": _results(macer, training="macer")}
  )


class MatrixTest(parameterized.TestCase):
  def test_cells(self):
    self.assertEqual(
      matrix.cells(_matrix(), "acr"),
      [
        ("ACR", "ga", "macer"),
        ("clean", "0.400 ± 0.010", "0.500 ± 0.010"),
        ("pacd", "0.100 ± 0.010 (25 %)", "0.200 ± 0.010 (40 %)"),
      ],
    )
    lines = matrix.cells(_matrix(), "aca")
    self.assertEqual(lines[2], ("pacd", "50.0 ± 1.0", "60.0 ± 1.0"))

  def test_without_acr_or_class_accuracy(self):
    rows = [_row("clean", None, 0.9), _row("pacd", None, 0.5)]
    rows = [row | {"class_accuracy_mean": None} for row in rows]
    collected = matrix.collect({"ga": _results(rows)})
    self.assertEqual(matrix.cells(collected, "acr")[1:], [("clean", "-"), ("pacd", "-")])
    self.assertEqual(matrix.cells(collected, "class_accuracy")[2], ("pacd", "-"))

  def test_table(self):
    text = matrix.table(_matrix())
    for words in (
      "accuracy % of the class, no noise",
      "digits, class 8, sigma 0.25, epsilon 0.2 (linf)",
      "macer: mlp, training macer",
      "victims: 2; test points: 5;",
      "n0 10, n 100, alpha 0.001, bound exact",
    ):
      self.assertIn(words, " ".join(text.split()))
    self.assertLess(max(map(len, text.splitlines())), 90)

  @parameterized.parameters(
    ("sigma", {"sigma": 0.5}),
    ("rows", {"rows": [_row("clean", 0.4, 0.9)]}),
    ("certify.n", {"rows": [_row("clean", 0.4, 0.9, n=5), _row("pacd", 0.1, 0.5, n=5)]}),
  )
  def test_refuses_what_cannot_stand_beside_each_other(self, field, changes):
    rows = [_row("clean", 0.4, 0.9), _row("pacd", 0.1, 0.5)]
    with self.assertRaisesRegex(errors.InputError, f"victims ga and b differ in {field}"):
      matrix.collect({"ga": _results(rows), "b": _results(rows) | changes})


if __name__ == "__main__":
  absltest.main()
