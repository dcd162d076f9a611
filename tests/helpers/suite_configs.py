"""Changes of a suite's config, and a page that costs no time, for tests of suites."""

import pathlib

import ml_collections


def change(config: ml_collections.ConfigDict, **changes) -> ml_collections.ConfigDict:
  """Sets nested fields by `a__b=value`; a group is added, or merged, as a dictionary."""
  with config.unlocked(), config.ignore_type():
    for name, value in changes.items():
      *groups, field = name.split("__")
      holder = config
      for group in groups:
        holder = holder[group]
      if isinstance(value, dict) and value and field in holder:
        holder[field].update(value)
      else:
        holder[field] = ml_collections.ConfigDict(value) if value == {} else value
  return config


def write_page(folder) -> None:
  """In place of a part's own page, which takes longest."""
  path = pathlib.Path(folder, "report", "index.html")
  path.parent.mkdir(exist_ok=True)
  path.write_text("page")
