"""Every config field with values of every type: refused in one line, or kept as it is."""

import functools
import math
import pathlib
import tempfile

import fuzzing
import ml_collections
from absl import flags
from absl.testing import absltest
from hypothesis import strategies as st

import pacd_jax
from configs import digits_compare, digits_transfer
from pacd_jax import errors
from pacd_jax.experiment import command_line, door, identity, schema, suite_specs
from pacd_jax.experiment.entries import data_sets
from pacd_jax.runtime import sealed
from pacd_jax.suites import comparison, transfer

_BASES = ("digits_ga", "digits_macer", "digits_smoothadv", "digits_standard")
_FIELDS = schema.known()
_NAMES = (*_FIELDS, "rows", "poisons", "poisons.yours", "attack", "", "a.b", "sigma.x", 3)
# Fields without which others are not looked at.
_USED = ({}, {"data.name": "npz"}, {"data.name": "mnist"}, {"rows": ("clean", "yours")})
_PATHS = ("data.path", "data.data_dir", "poisons.yours")
_load = functools.cache(data_sets.load)


def _near(name):
  """Values that a field may have, and their neighbours."""
  field = _FIELDS.get(name)
  if field is None:
    return fuzzing.values
  if field.check.kind is int:
    return st.integers(0, 300) | fuzzing.integers
  if field.check.kind is float:
    return fuzzing.floats | st.floats(1e-3, 2.0) | st.integers(0, 3)
  if field.check.kind is bool:
    return st.booleans()
  words = field.check.must_be.replace(",", " ").split()
  near = st.sampled_from(words) | fuzzing.texts
  if field.check.kind is tuple:
    return st.lists(near | st.integers(0, 400), max_size=4, unique=True).map(tuple)
  return near


def _value(name):
  return _near(name) | fuzzing.values


def _changes(names):
  """One to three fields, each with a value."""
  some = st.sampled_from(names) | st.sampled_from(_PATHS)
  one = some.flatmap(lambda n: st.tuples(st.just(n), _value(n)))
  return st.lists(one, min_size=1, max_size=3).map(dict)


def _places(values, prefix=()):
  """Where each field and each group of nested values is."""
  for name, value in values.items():
    yield (*prefix, name)
    if isinstance(value, dict):
      yield from _places(value, (*prefix, name))


_SUITES = {
  "victims": (digits_transfer.get_config("smoke").to_dict(), transfer.suite),
  "attacks": (digits_compare.get_config("smoke").to_dict(), comparison.suite),
}
_PLACES = {kind: sorted(_places(values)) for kind, (values, _) in _SUITES.items()}
_ABSENT = object()


class FieldsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def is_one_line(self, error):
    message = str(error)
    self.assertLen(message.splitlines(), 1)
    self.assertLess(len(message), 2100)
    message.encode()
    return message

  def is_accepted(self, config):
    """It is also by what looks at the data, or refused; and it comes back from a file."""
    text = identity.Identity(schema.values(config)).text
    self.assertEqual(schema.make(sealed.parse(text.encode())), config)
    try:
      plan = door.build(config, self.folder / "run", _load)
      for row in filter(plan.training_sets.is_given, plan.rows):
        plan.training_sets.check_given(row)
    except errors.InputError as error:
      self.is_one_line(error)

  def of_a_program(self, base, used, changes):
    try:
      config = pacd_jax.make_config(base, "smoke", used | changes)
    except errors.InputError as error:
      message = self.is_one_line(error)
      self.assertTrue(any(str(name).split(".")[0] in message for name in changes), message)
      return
    made = schema.flatten(schema.values(config))
    for name, value in changes.items():
      if name in _FIELDS:
        given = list(value) if isinstance(value, tuple) else value
        self.assertEqual(made[name], given)
        if isinstance(given, float):
          self.assertEqual(math.copysign(1, made[name]), math.copysign(1, given))
    self.is_accepted(config)

  test_a_program, test_a_program_more = fuzzing.tiers(
    of_a_program,
    st.sampled_from(_BASES),
    st.sampled_from(_USED),
    _changes(_NAMES),
    few=40,
    many=3000,
  )

  def of_a_command(self, arguments):
    argv = ["main.py", "--config=configs/digits_ga.py:smoke"]
    argv += [f"--config.{name}={text}" for name, text in arguments]
    try:
      command_line.parse(argv, "an example")
      config = door.parse(command_line.config())
    except SystemExit as end:
      self.fail(f"it exits with {end.code}")
    except Exception as error:  # As `command.start` does.
      self.assertNotIsInstance(error, (AttributeError, TypeError, AssertionError))
      self.is_one_line(errors.InputError(command_line.words(error)))
      return
    finally:
      flags.FLAGS.unparse_flags()
      for name in [n for n in flags.FLAGS if n.startswith("config.")]:
        delattr(flags.FLAGS, name)
    self.is_accepted(config)

  test_a_command, test_a_command_more = fuzzing.tiers(
    of_a_command,
    st.lists(
      st.sampled_from(_NAMES).flatmap(
        lambda name: st.tuples(st.just(name), fuzzing.texts | _value(name).map(str))
      ),
      min_size=1,
      max_size=3,
    ),
    few=60,
    many=2000,
  )

  def of_a_suite(self, changed):
    kind, place, value = changed
    values, suite = _SUITES[kind]
    values = ml_collections.ConfigDict(values).to_dict()
    *groups, last = place
    holder = values
    for name in groups:
      holder = holder[name]
    if value is _ABSENT:
      del holder[last]
    else:
      holder[last] = value
    parse = suite_specs.transfer if kind == "victims" else suite_specs.comparison
    try:
      suite(parse(values), self.folder / "suite")
    except errors.InputError as error:
      self.is_one_line(error)

  test_a_suite, test_a_suite_more = fuzzing.tiers(
    of_a_suite,
    st.sampled_from([*_SUITES]).flatmap(
      lambda kind: st.tuples(
        st.just(kind),
        st.sampled_from(_PLACES[kind]),
        st.just(_ABSENT) | fuzzing.values,
      )
    ),
    few=80,
    many=1000,
  )


if __name__ == "__main__":
  absltest.main()
