"""A run's folder: claimed by one config and one process, written without halves."""

import copy
import errno
import fcntl
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import identity
from pacd_jax.runtime import run_folder

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SETTINGS = {
  "seed": 0,
  "sigma": 0.25,
  "rows": ("clean", "pacd"),
  "attack": {"epsilon": 0.1, "norm": "linf", "momentum": {"decay": 0.9}},
}

# Another process: opens the folder, says so, and holds it until it is killed.
_HOLDER = """
import sys, time
from pacd_jax import errors
from pacd_jax.experiment import identity
from pacd_jax.runtime import run_folder
try:
  with run_folder.RunFolder(sys.argv[1], identity.Identity({"seed": 0})):
    print("open", flush=True)
    time.sleep(60)
except errors.InputError as error:
  print(error, flush=True)
"""


def _changed(**changes):
  """The settings with `a__b=value` for the field a.b; None removes it."""
  settings = copy.deepcopy(_SETTINGS)
  for name, value in changes.items():
    *groups, field = name.split("__")
    group = settings
    for key in groups:
      group = group[key]
    if value is None:
      del group[field]
    else:
      group[field] = value
  return settings


def _folder(workdir, settings=_SETTINGS):
  return run_folder.RunFolder(workdir, identity.Identity(settings))


def _claim(workdir, settings=_SETTINGS):
  """Enters the folder, claims it and leaves it again; returns its fingerprint."""
  with _folder(workdir, settings) as folder:
    folder.claim()
    return folder.fingerprint


class RunFolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self._workdir = self._folder / "runs" / "one"

  def _assert_refused(self, settings, *words, workdir=None):
    workdir = workdir or self._workdir
    with self.assertRaises(errors.InputError) as caught:
      _claim(workdir, settings)
    message = str(caught.exception)
    self.assertLen(message.splitlines(), 1)
    for word in (str(workdir), *words):
      self.assertIn(word, message)
    return message

  def _other_process(self):
    """Starts a process that opens the folder; returns it and what it said."""
    process = subprocess.Popen(
      [sys.executable, "-c", _HOLDER, str(self._workdir)],
      env=os.environ | {"PYTHONPATH": str(_ROOT)},
      stdout=subprocess.PIPE,
      text=True,
    )
    self.addCleanup(process.communicate)
    self.addCleanup(process.kill)
    return process, process.stdout.readline().strip()

  # --- whose run it is ----------------------------------------------------------------

  def test_a_new_folder_is_made_and_its_config_written(self):
    with _folder(self._workdir) as folder:
      self.assertFalse((self._workdir / "config.json").exists())
      folder.claim()
      written = run_folder.read_json(self._workdir / "config.json")
    expected = _SETTINGS | {"rows": ["clean", "pacd"]}
    self.assertEqual(written, expected)
    self.assertEqual(folder.path, self._workdir)

  def test_nothing_is_made_before_it_is_entered(self):
    _folder(self._workdir)
    self.assertFalse(self._workdir.exists())

  def test_the_same_config_opens_it_again(self):
    first = _claim(self._workdir)
    before = (self._workdir / "config.json").read_bytes()
    again = _claim(self._workdir, copy.deepcopy(_SETTINGS))
    self.assertEqual(first, again)
    self.assertEqual((self._workdir / "config.json").read_bytes(), before)

  @parameterized.named_parameters(
    ("list_for_tuple", _changed(rows=["clean", "pacd"])),
    ("other_order", dict(reversed(_SETTINGS.items()))),
    ("whole_number_as_float", _changed(seed=0.0)),
  )
  def test_the_same_values_are_the_same_config(self, settings):
    """It opens the folder, and the checkpoints of the one are those of the other."""
    self.assertEqual(_claim(self._workdir), _claim(self._workdir, settings))

  @parameterized.named_parameters(
    ("top", {"seed": 1}, ["seed is 0 there and 1 here"]),
    ("group", {"attack__epsilon": 0.2}, ["attack.epsilon is 0.1 there and 0.2 here"]),
    ("deep", {"attack__momentum__decay": 0.5}, ["attack.momentum.decay", "0.9", "0.5"]),
    ("text", {"attack__norm": "l2"}, ["attack.norm is 'linf' there and 'l2' here"]),
    ("list", {"rows": ("clean",)}, ["rows is ['clean', 'pacd'] there and ['clean']"]),
    ("order", {"rows": ("pacd", "clean")}, ["rows is", "['pacd', 'clean'] here"]),
    ("added", {"attack__steps": 5}, ["attack.steps", "absent", "5 here"]),
    ("removed", {"rows": None}, ["rows is ['clean', 'pacd'] there", "absent"]),
    (
      "two",
      {"sigma": 0.5, "attack__norm": "l2"},
      ["attack.norm is 'linf'", "sigma is 0.25 there and 0.5 here"],
    ),
  )
  def test_a_run_of_another_config_is_refused_and_the_difference_told(self, changes, words):
    first = _claim(self._workdir)
    before = (self._workdir / "config.json").read_bytes()
    message = self._assert_refused(_changed(**changes), *words)
    self.assertEqual(message.count(" there and "), len(changes))
    self.assertEqual((self._workdir / "config.json").read_bytes(), before)
    other = _claim(self._folder / "other", _changed(**changes))
    self.assertNotEqual(first, other)

  @parameterized.parameters(
    b"", b"seed = 0\n", b'{"seed": 0', b"[1, 2]", b"3", b"\xff\xfe\x00\x01", b"\0" * 20
  )
  def test_a_config_that_is_not_json_is_refused(self, content):
    self._workdir.mkdir(parents=True)
    (self._workdir / "config.json").write_bytes(content)
    self._assert_refused(_SETTINGS, "config.json", "choose another --workdir")
    self.assertEqual((self._workdir / "config.json").read_bytes(), content)

  # --- folders that cannot be written -------------------------------------------------

  @parameterized.parameters("", "below", "far/below")
  def test_a_folder_that_is_a_file_or_below_one_is_refused(self, below):
    (self._folder / "file").write_text("not a folder")
    self._assert_refused(
      _SETTINGS, "cannot be written", workdir=self._folder / "file" / below
    )
    self.assertEqual((self._folder / "file").read_text(), "not a folder")

  def test_a_full_disk_is_refused(self):
    """An empty file can still be made there, but nothing written."""
    full = OSError(28, "No space left on device")
    with mock.patch.object(os, "replace", side_effect=full):
      self._assert_refused(_SETTINGS, "No space left on device")

  # --- one process at a time ----------------------------------------------------------

  def test_a_second_opening_is_refused_until_the_first_is_left(self):
    with _folder(self._workdir):
      self._assert_refused(_SETTINGS, "in use")
      self._assert_refused(_SETTINGS, "in use")  # The refusal did not free it.
    _claim(self._workdir)

  def test_a_file_system_without_locks_is_told_from_a_folder_in_use(self):
    none = OSError(errno.ENOLCK, "No locks available")
    with mock.patch.object(fcntl, "flock", side_effect=none):
      self._assert_refused(_SETTINGS, "cannot be locked (No locks available)")
    _claim(self._workdir)

  def test_leaving_by_an_error_frees_the_folder(self):
    with (
      self.assertRaises(KeyError),
      _folder(self._workdir),
    ):
      raise KeyError
    _claim(self._workdir)

  def test_another_process_is_refused(self):
    with _folder(self._workdir, {"seed": 0}):
      _, said = self._other_process()
    self.assertIn(
      f"in use by another process, {os.getpid()} on {platform.node()}: wait", said
    )
    self.assertIn(str(self._workdir), said)

  def test_a_killed_process_leaves_the_folder_free(self):
    process, said = self._other_process()
    self.assertEqual(said, "open")
    self._assert_refused({"seed": 0}, "in use")
    process.kill()
    process.wait()
    _claim(self._workdir, {"seed": 0})

  def test_a_refused_config_does_not_hold_the_folder(self):
    """Even while its error is at hand, as in an interactive session."""
    _claim(self._workdir)
    try:
      _claim(self._workdir, _changed(seed=1))
    except errors.InputError as error:
      at_hand = error
    _claim(self._workdir)
    self.assertIn("seed is 0 there", str(at_hand))

  # --- paths --------------------------------------------------------------------------

  def test_files_stand_where_the_layout_has_them(self):
    folder = _folder(self._workdir)
    paths = {
      folder.metrics: "metrics.jsonl",
      folder.results: "results.json",
      folder.report: "report/index.html",
      folder.poison("pacd"): "poison/pacd.npz",
      folder.attack_time("pacd"): "poison/pacd.json",
      folder.checkpoints("attack"): "checkpoints/attack",
      folder.checkpoints("train"): "checkpoints/train",
      folder.certificate("clean", 3): "certificates/clean/seed_3",
    }
    for path, expected in paths.items():
      self.assertEqual(path, self._workdir / expected)


class WriteJsonTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self._path = pathlib.Path(folder) / "new" / "results.json"

  def test_round_trip_in_a_folder_of_its_own(self):
    value = {"rows": [{"acr": [0.1, 1e-300, 3]}], "text": 'a "\n" \u03c3', "no": None}
    run_folder.write_json(self._path, value)
    self.assertEqual(run_folder.read_json(self._path), value)
    self.assertEqual(list(self._path.parent.iterdir()), [self._path])
    self.assertEndsWith(self._path.read_text(), "}\n")

  def test_a_crash_before_the_renaming_leaves_the_old_file(self):
    run_folder.write_json(self._path, {"old": 1})
    with (
      mock.patch.object(os, "replace", side_effect=KeyboardInterrupt),
      self.assertRaises(KeyboardInterrupt),
    ):
      run_folder.write_json(self._path, {"new": 2})
    self.assertEqual(run_folder.read_json(self._path), {"old": 1})

  @parameterized.named_parameters(
    ("nan", float("nan")), ("infinity", float("inf")), ("set", {1, 2})
  )
  def test_what_json_cannot_hold_leaves_the_old_file(self, value):
    run_folder.write_json(self._path, {"old": 1})
    with self.assertRaises((ValueError, TypeError)):
      run_folder.write_json(self._path, {"new": value})
    self.assertEqual(run_folder.read_json(self._path), {"old": 1})


if __name__ == "__main__":
  absltest.main()
