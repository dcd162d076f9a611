"""A wheel in a folder of its own runs an experiment by name: configs travel in it."""

import json
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv

import pytest
from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.long
class WheelTest(absltest.TestCase):
  def test_it_runs_by_name(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    clone = folder / "clone"  # Building writes beside the sources.
    shutil.copytree(_ROOT, clone, ignore=shutil.ignore_patterns(".venv*", "runs", "build"))
    build = ["wheel", "--no-deps", f"--wheel-dir={folder}", str(clone)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    site = folder / "env" / "lib" / f"python{sysconfig.get_python_version()}"
    site = site / "site-packages"
    subprocess.run([*pip, f"--python={python}", "install", "--no-deps", wheel], check=True)
    # What it needs, without this clone, which stands in another .pth file there.
    (site / "needs.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    (folder / "empty").mkdir()
    command = [folder / "env" / "bin" / "pacd", "run", "digits_ga:smoke,model.name=linear"]
    done = subprocess.run(
      command, cwd=folder / "empty", capture_output=True, text=True, timeout=600
    )
    self.assertEqual(done.returncode, 0, done.stderr)
    run = folder / "empty" / "runs" / "digits_ga_smoke_model.name=linear"
    self.assertTrue((run / "report" / "index.html").exists())
    (made,) = json.loads((run / "stamp.json").read_text())
    head = ["git", "-C", str(_ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True).stdout.strip()
    self.assertEqual(made["commit"], commit or None)


if __name__ == "__main__":
  absltest.main()
