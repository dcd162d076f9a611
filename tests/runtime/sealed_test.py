"""Seals: a JSON file that changed is told from one as it was written."""

import json

from absl.testing import absltest, parameterized

from pacd_jax.runtime import sealed

_VALUE = {"acr": [0.1, 1e-300], "rows": {"b": 1, "a": None}, "text": "σ"}


class SealedTest(parameterized.TestCase):
  def test_comes_back_without_its_seal(self):
    text = json.dumps(sealed.seal(_VALUE), indent=2)
    self.assertEqual(sealed.parse(text.encode()), _VALUE)
    self.assertTrue(sealed.is_whole(json.loads(text)))

  def test_every_changed_digit_is_noticed(self):
    text = json.dumps(sealed.seal(_VALUE))
    for place, character in enumerate(text):
      if character.isdigit():
        changed = f"{text[:place]}{(int(character) + 1) % 10}{text[place + 1 :]}"
        with self.assertRaises(ValueError):
          found = sealed.parse(changed.encode())
          self.assertIn("sha", str(found.keys()))  # Another name: no seal.
          self.assertEqual(found, found | _VALUE)
          raise ValueError

  def test_what_has_no_seal_is_taken_as_it_is(self):
    for value in (_VALUE, [1, 2], "text", 3):
      self.assertEqual(sealed.parse(json.dumps(value).encode()), value)

  @parameterized.parameters(
    (b"", "Expecting value"),
    (b"\xff", "decode"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"a": NaN}', "NaN is no finite number"),
    (b'{"a": 1e999}', "1e999 is no finite number"),
    (b'{"a": 1, "a": 2}', "'a' is there twice"),
    (b'{"a": 1, "sha256": "0"}', "changed since it was written"),
  )
  def test_what_is_none_says_why(self, contents, message):
    with self.assertRaisesRegex(ValueError, message):
      sealed.parse(contents)


if __name__ == "__main__":
  absltest.main()
