"""The base config with some fields changed, and the refusal of one in one line."""

from absl.testing import parameterized

from configs import base
from pacd_jax import errors
from pacd_jax.experiment import schema, together


def check(resolved):
  """Each field by itself, and with the others."""
  together.check(schema.make(resolved))


def settings(**changes):
  """The base config with `a__b=value` for the field a.b."""
  resolved = base.get_config().to_dict()
  for name, value in changes.items():
    group, field = place(resolved, name.replace("__", "."))
    group[field] = value
  return resolved


def with_field(name, value):
  return settings(**{name.replace(".", "__"): value})


def place(resolved, name):
  """The dictionary that holds a dotted name, and the name in it."""
  *groups, field = name.split(".")
  for key in groups:
    resolved = resolved[key]
  return resolved, field


class TestCase(parameterized.TestCase):
  def assert_refused(self, resolved, *words):
    with self.assertRaises(errors.InputError) as caught:
      check(resolved)
    message = str(caught.exception)
    self.assertLen(message.splitlines(), 1)
    for word in words:
      self.assertIn(word, message)
    return message
