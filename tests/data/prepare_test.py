"""The command line that prepares data: one line and a status for whatever goes wrong."""

import contextlib
import importlib.util
import io
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import fake_tfds
import tensorflow_datasets as tfds
from absl.testing import absltest, parameterized

from pacd_jax.data import prepare

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _with_packages(*absent):
  """As if TensorFlow and its like were installed, but for the absent ones."""
  find = importlib.util.find_spec

  def find_spec(name, *arguments):
    if name in absent:
      return None
    return object() if name in prepare._PACKAGES else find(name, *arguments)

  return mock.patch.object(importlib.util, "find_spec", find_spec)


class PrepareTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.data_dir = self.enterContext(tempfile.TemporaryDirectory())
    self.enterContext(_with_packages())

  def _run(self, *arguments):
    """Exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      status = prepare.main(arguments)
    return status, out.getvalue(), err.getvalue()

  def _prepare_with(self, download_and_prepare):
    builder = mock.Mock(download_and_prepare=download_and_prepare)
    with mock.patch.object(tfds, "builder", return_value=builder) as made:
      return self._run("prepare", "mnist", f"--data_dir={self.data_dir}"), made

  def test_it_prepares_and_says_what_is_there(self):
    (status, out, err), made = self._prepare_with(
      lambda: fake_tfds.make_tfds_folder(self.data_dir, "mnist")
    )
    self.assertEqual((status, err), (0, ""))
    self.assertEqual(
      out,
      "MNIST (240 + 60 images): 240 training and 60 test images in "
      f"{self.data_dir}/mnist/3.0.1\n",
    )
    made.assert_called_once_with(
      "mnist", data_dir=self.data_dir, file_format="array_record"
    )

  def test_what_is_prepared_needs_nothing(self):
    fake_tfds.make_tfds_folder(self.data_dir, "cifar10")
    with _with_packages("tensorflow"):
      status, out, err = self._run("prepare", "cifar10", f"--data_dir={self.data_dir}")
    self.assertEqual((status, err), (0, ""))
    self.assertStartsWith(out, "CIFAR-10 ")

  def test_what_is_damaged_is_not_hidden(self):
    folder = fake_tfds.make_tfds_folder(self.data_dir, "mnist")
    (folder / "features.json").unlink()
    status, out, err = self._run("prepare", "mnist", f"--data_dir={self.data_dir}")
    self.assertEqual((status, out), (2, ""))
    self.assertRegex(err, r"\Aerror: [^\n]+ delete it, [^\n]+\n\Z")

  @parameterized.parameters("tensorflow", "importlib_resources")
  def test_a_missing_package_is_one_line(self, package):
    with _with_packages(package):
      status, out, err = self._run("prepare", "mnist", f"--data_dir={self.data_dir}")
    self.assertEqual((status, out), (2, ""))
    self.assertEqual(
      err,
      f"error: preparing mnist needs the package {package}: pip install -e '.[prepare]'\n",
    )

  def test_a_failed_download_is_one_line(self):
    def fail():
      raise ConnectionError("no route to host\nand a second line")

    (status, out, err), _ = self._prepare_with(fail)
    self.assertEqual((status, out), (2, ""))
    self.assertRegex(err, r"\Aerror: .*mnist could not be prepared \(no route to host\): ")
    self.assertEqual(err.count("\n"), 1)

  def test_an_interrupt_is_one_line(self):
    def interrupt():
      raise KeyboardInterrupt

    (status, out, err), _ = self._prepare_with(interrupt)
    self.assertEqual((status, out), (130, ""))
    self.assertEqual(err, "\ninterrupted: run the same command again\n")

  @parameterized.parameters(
    ([], "required: command"),
    (["prepare"], "required: name"),
    (["prepare", "mnits"], "'mnits'"),
    (["prepare", "mnist", "--datadir=x"], "--datadir=x"),
    (["prepare", "mnist", "--data_dir"], "expected one argument"),
    (["fetch", "mnist"], "'fetch'"),
  )
  def test_bad_arguments_are_one_line(self, arguments, message):
    status, out, err = self._run(*arguments)
    self.assertEqual((status, out), (2, ""))
    self.assertRegex(
      err,
      rf"\Aerror: [^\n]*{message}[^\n]*: write "
      r"`pacd prepare \{mnist,cifar10\} --data_dir=DIR`\n\Z",
    )

  def test_the_module_data_is_the_program(self):
    done = subprocess.run(
      [sys.executable, "-m", "pacd_jax.data", "prepare", "mnits"],
      cwd=_ROOT,
      capture_output=True,
      text=True,
    )
    self.assertEqual((done.returncode, done.stdout), (2, ""))
    self.assertRegex(done.stderr, r"\Aerror: [^\n]*'mnits'[^\n]*\n\Z")


if __name__ == "__main__":
  absltest.main()
