"""The comparison of hypergradients: its problems, its figures, its page."""

import pathlib
import tempfile

import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized
from jax.flatten_util import ravel_pytree

from pacd_jax.bench import bilevel_problems, hypergradients
from pacd_jax.bench.hypergradient_methods import METHODS, Point, measure
from pacd_jax.bilevel import hypergradient


class ProblemsTest(absltest.TestCase):
  @pytest.mark.long
  def test_the_exact_hypergradient_is_what_retraining_does(self):
    """Softmax regression, in a direction that has pixels and data weights."""
    with jax.enable_x64(True):
      problem = bilevel_problems.logistic()
      exact = bilevel_problems.exact(problem)
      direction = np.cos(np.arange(exact.size)).reshape(exact.shape)

      def retrained(length):
        u = problem.poison + length * direction
        w = bilevel_problems.minimise(problem.lower, problem.params, u)
        return float(problem.upper(w, u))

      expected = (retrained(1e-4) - retrained(-1e-4)) / 2e-4
    np.testing.assert_allclose(np.vdot(exact, direction), expected, rtol=1e-5)
    self.assertGreater(np.linalg.norm(exact[:, 10]), 0.01 * np.linalg.norm(exact))

  def test_the_net_has_500_parameters(self):
    params = bilevel_problems.net(trained=False).params
    self.assertEqual(ravel_pytree(params)[0].size, 500)


@pytest.mark.long
class MeasureTest(parameterized.TestCase):
  @parameterized.parameters("ridge", "logistic")
  def test_conjugate_gradients_reach_the_exact_one(self, make):
    with jax.enable_x64(True):
      problem = getattr(bilevel_problems, make)()
      true = bilevel_problems.exact(problem)
      for name in ("cg, Gauss-Newton", "cg, Hessian"):
        references = {METHODS[name].curvature: true, hypergradient.hessian: true}
        few, many = measure(problem, METHODS[name], references, (2, 100))
        self.assertLess(many.error, 1e-6)
        self.assertGreater(many.cosine, 1.0 - 1e-9)
        self.assertGreater(few.error, 1e-3)
        self.assertEqual(few.products, 3)


class PageTest(absltest.TestCase):
  @pytest.mark.long
  def test_one_command_writes_page_and_picture(self):
    out = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
    options = ["--problems", "ridge", "--only", "cg, Hessian", "--most", "1"]
    self.assertEqual(hypergradients.main(["--out", str(out), *options]), 0)
    page = (out / "hypergradients.md").read_text()
    self.assertIn("| `cg, Hessian` | H | yes | ", page)
    self.assertIn("(hypergradients.png)", page)
    self.assertEqual((out / "hypergradients.png").read_bytes()[1:4], b"PNG")

  def test_the_cells_are_those_of_the_points(self):
    """25 products are over the first two, 100 over the third; none is at 1e-6."""
    points = [
      Point(products, error, cosine, 0.25, None)
      for products, error, cosine in ((5, 0.5, 0.9), (20, 0.05, 0.99), (80, 2e-3, 0.999))
    ]
    table = hypergradients.accuracy_table("a problem", {"neumann": points})
    row = "| `neumann` | H | yes | 0.05 | 2e-03 | 2e-03 | 0.9990 | 80 | - | 0.25 |"
    self.assertIn(row, table)


if __name__ == "__main__":
  absltest.main()
