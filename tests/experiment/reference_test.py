"""docs/configuration.md is what the tree of fields and the registries say."""

from absl.testing import absltest

from pacd_jax.experiment import kinds, reference


class ReferenceTest(absltest.TestCase):
  def test_the_page_is_current(self):
    page = reference.PATH.read_text(encoding="utf-8")
    remedy = "run python -m pacd_jax.experiment.reference"
    self.assertEqual(page.strip(), reference.page().strip(), remedy)

  def test_every_name_is_on_it(self):
    page = reference.page()
    for registry in kinds.ALL:
      for entry in registry:
        if entry.name:
          self.assertIn(f"`{entry.name}`", page)


if __name__ == "__main__":
  absltest.main()
