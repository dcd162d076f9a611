"""Registries: entries under their names, each once, in order."""

import dataclasses

from absl.testing import absltest

from pacd_jax import errors, registry


@dataclasses.dataclass(frozen=True)
class _Entry:
  name: str


class RegistryTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.things = registry.Registry[_Entry]("thing")
    self.second, self.first = _Entry("second"), _Entry("first")
    for entry in (self.second, self.first):
      self.assertIs(self.things.add(entry), entry)

  def test_entries_keep_their_order(self):
    self.assertEqual(self.things.names, ("second", "first"))
    self.assertEqual(list(self.things), [self.second, self.first])
    self.assertIs(self.things["first"], self.first)
    self.assertIn("first", self.things)
    self.assertNotIn("third", self.things)

  def test_a_name_is_taken_once(self):
    with self.assertRaisesRegex(errors.InputError, "there is a thing 'first' already"):
      self.things.add(_Entry("first"))

  def test_a_name_that_no_config_can_have(self):
    with self.assertRaisesRegex(errors.InputError, "'not-one' has an unusable name"):
      self.things.add(_Entry("not-one"))

  def test_an_unknown_name_is_told_the_known_ones(self):
    with self.assertRaisesRegex(errors.InputError, "use one of second, first"):
      self.things["third"]

  def test_one_can_be_taken_out(self):
    self.things.remove("second")
    self.assertEqual(self.things.names, ("first",))


if __name__ == "__main__":
  absltest.main()
