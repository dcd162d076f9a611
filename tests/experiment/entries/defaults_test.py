"""A function's defaults and those of its entry's options are the same numbers."""

import dataclasses
import inspect

from absl.testing import absltest, parameterized

from pacd_jax.attacks import baselines
from pacd_jax.bilevel import penalty, unrolling
from pacd_jax.bilevel.solvers import ekfac, nystrom
from pacd_jax.experiment.entries import hypergradients, rows


class DefaultsTest(parameterized.TestCase):
  @parameterized.parameters(
    (baselines.watermark, rows.Watermark),
    (baselines.convolution, rows.Convolution),
    (ekfac.ekfac, hypergradients.Ekfac),
    (nystrom.nystrom, hypergradients.Nystrom),
    (unrolling.unrolled_grad, hypergradients.Unrolling),
    (penalty.penalty_grad, hypergradients.Penalty),
  )
  def test_stand_twice_but_agree(self, function, options):
    parameters = inspect.signature(function).parameters
    own = dataclasses.asdict(options())
    for name, default in own.items():
      self.assertEqual(parameters[name].default, default, name)


if __name__ == "__main__":
  absltest.main()
