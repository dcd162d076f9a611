"""Damage to a file: bytes flipped, cut, doubled, added and exchanged, or no file at all."""

import pathlib
import shutil

from hypothesis import strategies as st

_MORE = (b"\n", b"\0" * 64, b"\xff\xfe", b"9", b"-", b"{", b"[" * 100_000, b"NaN", b"1e999")
_BYTES = st.binary(min_size=1, max_size=8) | st.sampled_from(_MORE)
_PLACE = st.floats(0.0, 1.0, exclude_max=True)  # As a share of the file's length.


def _at(contents, place):
  return int(place * len(contents))


def _flipped(contents, place, bit):
  changed = bytearray(contents)
  if changed:
    changed[_at(contents, place)] ^= 1 << bit
  return bytes(changed)


def _digit(contents, place, digit):
  """A digit for another one: what stays a number, and JSON."""
  places = [n for n, byte in enumerate(contents) if chr(byte).isdigit() and byte < 128]
  if not places:
    return _flipped(contents, place, 0)
  at = places[int(place * len(places))]
  return contents[:at] + b"%d" % digit + contents[at + 1 :]


def _line_of(contents, place, other):
  """A line that is gone, twice, or in the place of another."""
  lines = contents.splitlines(keepends=True)
  at = int(place * len(lines))
  changed = {"gone": [], "twice": lines[at : at + 1] * 2, "first": lines[:1]}[other]
  return b"".join([*lines[:at], *changed, *lines[at + 1 :]])


def _replaced(contents, place, given):
  at = _at(contents, place)
  return contents[:at] + given + contents[at + len(given) :]


changes = st.one_of(
  st.builds(lambda p, b: lambda c: _flipped(c, p, b), _PLACE, st.integers(0, 7)),
  st.builds(lambda p, d: lambda c: _digit(c, p, d), _PLACE, st.integers(0, 9)),
  st.builds(lambda p: lambda c: c[: _at(c, p)], _PLACE),
  st.builds(lambda p: lambda c: c[_at(c, p) :], _PLACE),
  st.builds(lambda p: lambda c: c + c[: _at(c, p)], _PLACE),
  st.builds(lambda g: lambda c: c + g, _BYTES),
  st.builds(lambda p, g: lambda c: _replaced(c, p, g), _PLACE, _BYTES),
  st.builds(lambda p, g: lambda c: c[: _at(c, p)] + g + c[_at(c, p) :], _PLACE, _BYTES),
  st.builds(
    lambda p, o: lambda c: _line_of(c, p, o),
    _PLACE,
    st.sampled_from(("gone", "twice", "first")),
  ),
  st.sampled_from((lambda c: c + c, lambda c: b"", lambda c: c[::-1], lambda c: b"{}\n")),
)


def apply(path: pathlib.Path, kind, other: pathlib.Path | None = None):
  """Damages a file: by a function of its bytes, or by a word.

  "exchanged" puts the other file in its place, if there is one.
  """
  if callable(kind):
    path.write_bytes(kind(path.read_bytes()))
    return
  theirs = (path if other is None else other).read_bytes()
  path.unlink()
  if kind == "a folder":
    path.mkdir()
  elif kind == "a link to itself":
    path.symlink_to(path.name)
  elif kind == "exchanged":
    path.write_bytes(theirs)


WORDS = ("gone", "a folder", "a link to itself", "exchanged", "exchanged")
damage = changes | st.sampled_from(WORDS)


def mend(path: pathlib.Path, contents: bytes):
  """The file as it was."""
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  elif path.is_symlink() or path.exists():
    path.unlink()
  path.write_bytes(contents)
