"""The command line of a run: its config, with the fields that flags set.

A mistake is an error of one line that names the flag; commands define further flags.
"""

import pathlib
import sys

import ml_collections
from absl import flags
from ml_collections import config_flags

from pacd_jax import errors
from pacd_jax.experiment import config_files, fields, schema, together

_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "Experiment, such as configs/digits_ga.py or configs/digits_ga.py:smoke.",
)
flags.mark_flag_as_required("config")

_POISON_FLAG = "--config.poisons."


def parse(argv: list[str], example: str) -> list[str]:
  """Parses absl's flags and those of config fields; returns what is left: the program."""
  argv, poisons = _take_poisons(argv)
  argv = [_with_number(argument) for argument in argv]
  sys.argv = argv  # Where ml_collections looks for the fields that flags set.
  if not any(arg.lstrip("-").startswith(("config", "help")) for arg in argv[1:]):
    raise errors.InputError(f"which experiment? try {example}")
  _bind_configs(argv)
  _check_given_once(argv)
  try:
    rest = flags.FLAGS(argv)
  finally:  # Entries that the config file registers are known from here on.
    _check_known(argv)
  if len(rest) > 1:
    raise errors.InputError(f"argument {rest[1]!r} is not a flag: write --flag=value")
  path = config_file().partition(":")[0]
  if not pathlib.Path(path).is_file():
    known = ", ".join(config_files.names())
    raise errors.InputError(f"--config={path} is not a file: the package has {known}")
  if not isinstance(_CONFIG.value, ml_collections.ConfigDict):
    raise errors.InputError(f"--config={path}: get_config() gives no ConfigDict")
  if poisons and "poisons" not in _CONFIG.value:
    raise errors.InputError(f"--config={path} takes no poisons from elsewhere")
  with _CONFIG.value.unlocked():
    for name, poison in poisons.items():
      _CONFIG.value.poisons[name] = poison
  return rest


def _config_flag(argv: list[str]) -> tuple[str, str]:
  """File and variant of `--config=FILE:VARIANT`, empty where there is none."""
  for number, argument in enumerate(argv[1:], start=1):
    name, is_given, value = argument.lstrip("-").partition("=")
    if name == "config" and argument.startswith("-"):
      value = value if is_given else (argv[number + 1 : number + 2] or [""])[0]
      path, _, variant = value.partition(":")
      return path, variant
  return "", ""


def _bind_configs(argv: list[str]) -> None:
  """Lets config files of one folder import each other, whatever the current folder."""
  path, _ = _config_flag(argv)
  if path:
    config_files.find_neighbours(pathlib.Path(path))


def _fields_of_flags(argv: list[str]) -> list[str]:
  """Names of the fields that flags set, as they are given; `--noconfig.X` sets X."""
  found = []
  for argument in argv[1:]:
    name = argument.lstrip("-").partition("=")[0]
    if argument.startswith("-") and name.startswith(("config.", "noconfig.")):
      found.append(name.removeprefix("no").removeprefix("config."))
  return found


def _check_known(argv: list[str]) -> None:
  """Raises errors.InputError for a flag that sets an unknown field."""
  for name in _fields_of_flags(argv):
    schema.check_flag(name)


def _check_given_once(argv: list[str]) -> None:
  """Checks that each field is given once, behind the config's colon or by a flag.

  Raises:
    errors.InputError: a field is given twice.
  """
  _, variant = _config_flag(argv)
  behind = [item.partition("=")[0] for item in variant.split(",") if "=" in item]
  # A comparison's fields behind the colon are its base's.
  given = [name.removeprefix("base.") for name in _fields_of_flags(argv)]
  for number, name in enumerate([*behind, *given]):
    if name in [*behind, *given][:number]:
      where = "behind the config's colon and by a flag"
      if name not in behind:
        where = "by two flags"
      elif name not in given:
        where = "twice behind the config's colon"
      raise errors.InputError(f"config field {name} is given {where}: give it once")


def config() -> ml_collections.ConfigDict:
  """The config with the fields that flags set, after `parse`."""
  return _CONFIG.value


def config_file() -> str:
  """FILE:VARIANT, as the flag was given."""
  return config_flags.get_config_filename(flags.FLAGS["config"])


def _with_number(argument: str) -> str:
  """`--config.FIELD=8/255` with the fraction as a number, where the field is one."""
  flag, _, value = argument.partition("=")
  field = schema.known().get(schema.field_name(flag.removeprefix("--config.")))
  if "/" not in value or field is None or field.check.kind is not float:
    return argument
  try:
    return f"{flag}={fields.number(value)!r}"
  except ValueError:
    return argument  # The flag's own parser refuses it.


def _take_poisons(argv: list[str]) -> tuple[list[str], dict[str, str]]:
  """Splits `--config.poisons.NAME=PATH` off the arguments: these names are the user's."""
  rest, poisons = [], {}
  for argument in argv:
    name, is_given, path = argument.partition("=")
    if not name.startswith(_POISON_FLAG):
      rest.append(argument)
    elif is_given:
      poisons[name.removeprefix(_POISON_FLAG)] = path
    else:
      raise errors.InputError(f"{name} has no value: write {name}=PATH")
  for name in poisons:
    together.check_row_name("poisons", name)
  return rest, poisons


def words(error: Exception) -> str:
  """The message for what a config file, or a flag that sets a field, raised."""
  if isinstance(error, flags.IllegalFlagValueError):
    _, is_field, field = str(error).partition("flag --config.")
    name = field.partition("=")[0]
    if is_field and (must_be := schema.must_be(name)):
      return f"--config.{field.partition(':')[0]}: it must be {must_be}"
    first: BaseException = error  # The text of the others has its traceback.
    while first.__context__ is not None:
      first = first.__context__
    if not is_field and isinstance(first, ValueError):  # A config refuses its variant.
      flag = str(error).partition(": ")[0]
      return f"{flag.removeprefix('flag ')}: {first}"
  if isinstance(error, flags.UnrecognizedFlagError):
    name = error.flagname
    fields = schema.fields_like(name) or schema.fields_like(name.removeprefix("no"))
    if fields:
      meant = " or ".join(f"--config.{name}" for name in fields)
      return f"unknown flag --{name}: did you mean {meant}?"
  if isinstance(error, KeyError):  # Its own text is quoted, with its line breaks.
    return "--config: no " + " ".join(str(error.args[0]).split())
  known = isinstance(error, (ValueError, flags.Error))
  return str(error) if known else f"--config: {type(error).__name__}: {error}"
