"""A function's defaults and those of its entry's options are the same numbers."""

import dataclasses
import inspect

from absl.testing import absltest, parameterized

from pacd_jax.attacks import autoregressive, baselines, separable_patterns
from pacd_jax.attacks.backdoors import patch
from pacd_jax.bilevel import penalty, unrolling
from pacd_jax.bilevel.solvers import ekfac, nystrom
from pacd_jax.defenses.filters import (
  activation_clustering,
  deep_knn,
  knn,
  l2,
  loss,
  slab,
  spectral_signatures,
  svd,
)
from pacd_jax.experiment.entries import (
  availability,
  filters,
  hypergradients,
  rows,
  triggers,
)


class DefaultsTest(parameterized.TestCase):
  @parameterized.parameters(
    (baselines.watermark, rows.Watermark),
    (baselines.convolution, rows.Convolution),
    (separable_patterns.lsp, availability.Lsp),
    (autoregressive.ar, availability.Ar),
    (patch.patch, triggers.Patch),
    (ekfac.ekfac, hypergradients.Ekfac),
    (nystrom.nystrom, hypergradients.Nystrom),
    (unrolling.unrolled_grad, hypergradients.Unrolling),
    (penalty.penalty_grad, hypergradients.Penalty),
    (l2.l2, filters.Distance),
    (slab.slab, filters.Distance),
    (loss.loss, filters.Loss),
    (knn.knn, filters.Knn),
    (svd.svd, filters.Svd),
    (deep_knn.deep_knn, filters.DeepKnn),
    (spectral_signatures.spectral_signatures, filters.SpectralSignatures),
    (activation_clustering.activation_clustering, filters.ActivationClustering),
  )
  def test_stand_twice_but_agree(self, function, options):
    parameters = inspect.signature(function).parameters
    own = dataclasses.asdict(options())
    for name, default in own.items():
      self.assertEqual(parameters[name].default, default, name)


if __name__ == "__main__":
  absltest.main()
