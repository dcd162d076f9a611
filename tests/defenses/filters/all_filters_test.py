"""Each filter by its name, with a model that a run's victims are like; and a run of two."""

import dataclasses
import tempfile

import asked
import finished_run
import jax
import numpy as np
import pytest
from absl.testing import absltest, parameterized

from pacd_jax.data import training_sets
from pacd_jax.defenses import chain
from pacd_jax.experiment import kinds
from pacd_jax.runtime import run_folder

_OF_A_SHARE = ("l2", "slab", "loss", "knn", "svd")
_NAMES = (*_OF_A_SHARE, "deep_knn", "spectral_signatures", "activation_clustering")


class FiltersTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    with tempfile.TemporaryDirectory() as folder:
      plan = asked.build(finished_run.smoke(), folder)
    cls.tools = plan.defense.tools()
    whole = training_sets.whole(plan.splits.train)
    cls.few = training_sets.keep(whole, np.arange(0, 1000, 3))

  def _apply(self, name, **options):
    entry = kinds.DEFENCES[name]
    options = dataclasses.replace(entry.options(), **options)
    named = [(name, entry.make(options))]
    return chain.apply(named, self.few, jax.random.key(0), self.tools)

  @parameterized.parameters(*_NAMES)
  def test_features_of_a_victim(self, name):
    options = {"k": 10} if name == "deep_knn" else {}
    of = {} if name == "loss" else {"of": "features"}
    after, (report,) = self._apply(name, **options, **of)
    again, _ = self._apply(name, **options, **of)
    np.testing.assert_array_equal(after.present, again.present)
    counts, left = (np.bincount(each.labels[each.present]) for each in (self.few, after))
    if name in _OF_A_SHARE:
      np.testing.assert_array_equal(left, [round(0.95 * count) for count in counts])
    shares = [report.values[f"removed_share_of_class_{label}"] for label in range(10)]
    np.testing.assert_allclose(shares, 1 - left / counts, atol=1e-12)
    self.assertEqual(report.values["most_removed_share"], max(shares))

  @parameterized.parameters("l2", "slab", "svd")
  def test_trusted_centroids_are_others(self, name):
    found = [
      self._apply(name, centroids=source)[0].present for source in ("data", "trusted")
    ]
    self.assertLen(found[0], len(found[1]))
    self.assertFalse(np.array_equal(*found))

  @pytest.mark.long
  def test_a_run_with_two(self):
    config = finished_run.smoke(
      rows=("clean", "classwise"),
      **{
        "model.name": "small_cnn",
        "defense.chain": ("l2", "deep_knn"),
        "defense.l2.share": 0.1,
        "defense.deep_knn.k": 20,
      },
    )
    with tempfile.TemporaryDirectory() as workdir:
      table = asked.run(config, workdir)
      plan = asked.build(config, workdir)
      self.assertRegex(table, "classwise")
      for row in plan.rows:
        said = run_folder.read_json(plan.folder.defended(row).with_suffix(".json"))
        first, second = said["defences"]
        self.assertEqual([first["name"], second["name"]], ["l2", "deep_knn"])
        self.assertAlmostEqual(first["values"]["most_removed_share"], 0.1, delta=0.01)
        gone = {*first["removed"], *second["removed"]}
        self.assertLen(gone, len(first["removed"]) + len(second["removed"]))
        left = plan.defended.split(row).present
        self.assertLen(left, len(plan.splits.train.labels) - len(gone))


if __name__ == "__main__":
  absltest.main()
