"""The launchers: checked by shellcheck, dry runs and what they start; no cluster."""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest, parameterized

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_LAUNCH = _ROOT / "launch"
_SCRIPTS = [
  *_LAUNCH.glob("*.sh"),
  _LAUNCH / "slurm.sbatch",
  _ROOT / "tests/heavy/slurm_run.sh",
]


# Words and statuses of the lines of a sweep: what each does, and srun's own status. Where
# these differ, another process was lost or ended by Slurm for the sake of this one.
_ENDS = (
  ("first", 0, 0),
  ("second", 143, 143),
  ("third", 3, 3),
  ("bug", 1, 134),
  ("input", 2, 137),
  ("number", 3, 137),
  ("others", 4, 137),
)
_SRUN = """#!/bin/bash
shift
"$@"
status=$?
if ((status)); then
  echo "srun: error: node-1: task 1: Exited with exit code $status" >&2
  echo "srun: error: node-1: task 0: Killed" >&2
fi
exit "${SRUN_STATUS:-$status}"
"""


def _run(*command, **environment):
  return subprocess.run(
    [str(word) for word in command],
    cwd=_ROOT,
    env={**os.environ, **environment},
    capture_output=True,
    text=True,
  )


class ScriptsTest(parameterized.TestCase):
  def test_shellcheck(self):
    self.assertGreaterEqual(len(_SCRIPTS), 4)
    done = _run(pathlib.Path(sys.executable).with_name("shellcheck"), *_SCRIPTS)
    self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

  def test_slurms_options(self):
    text = (_LAUNCH / "slurm.sbatch").read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))
    self.assertEqual(options["ntasks-per-node"], options["gpus-per-node"])
    self.assertRegex(options["signal"], r"^TERM@\d+$")  # To the steps, not to the shell.
    self.assertContainsSubset({"requeue", "time", "nodes"}, options)

  def test_slurm_runs_a_line_of_a_sweep_and_is_requeued_after_sigterm(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (folder / "srun").write_text(_SRUN)
    (folder / "scontrol").write_text('#!/bin/bash\necho "scontrol $*"\n')
    for name in ("srun", "scontrol"):
      (folder / name).chmod(0o755)
    lines = folder / "sweep.txt"
    ends = [f"bash -c 'echo {word}; exit {n}'" for word, n, _ in _ENDS]
    lines.write_text("\n".join([*ends, "true  # finished: runs/one"]) + "\n")
    requeue = "scontrol requeue 12"
    environment = {
      "PATH": f"{folder}:{os.environ['PATH']}",
      "SLURM_SUBMIT_DIR": str(folder),
      "SLURM_JOB_ID": "12",
    }
    for task, (status, words) in enumerate(
      (
        (0, ["first"]),
        (143, ["second", requeue]),
        (3, ["third"]),
        (1, ["bug"]),
        (2, ["input"]),
        (3, ["number"]),
        (137, ["others", requeue]),
        (0, []),  # Finished.
        (2, []),  # There is none.
      )
    ):
      srun_status = {"SRUN_STATUS": str(_ENDS[task][2])} if task < len(_ENDS) else {}
      done = _run(
        "bash",
        _LAUNCH / "slurm.sbatch",
        "--commands",
        lines,
        **environment,
        **srun_status,
        SLURM_ARRAY_TASK_ID=str(task + 1),
      )
      said = [line for line in done.stdout.splitlines() if " job 12, start" not in line]
      self.assertEqual((done.returncode, said), (status, words), done.stderr)
    self.assertIn("has no line 9", done.stderr)


class TpuPodTest(parameterized.TestCase):
  def _dry(self, *arguments, **environment):
    return _run(_LAUNCH / "tpu_pod.sh", *arguments, **environment, PATH="/usr/bin:/bin")

  def test_a_dry_run_prints_each_command_and_runs_none(self):
    done = self._dry(
      "-n", "mine", "main.py", "--config=a b", TYPE="v5litepod-32", ZONE="here", SPOT="1"
    )
    self.assertEqual((done.returncode, done.stderr), (0, ""))  # There is no gcloud.
    commands = [line.removeprefix("+ ") for line in done.stdout.splitlines()]
    verbs = [shlex.split(line)[:5][-1] for line in commands if line.startswith("gcloud")]
    self.assertEqual(verbs, ["create", "scp", "ssh", "ssh", "ssh", "scp", "delete"])
    self.assertIn("--spot", commands[0])
    (run,) = [line for line in commands if "main.py" in line]
    self.assertIn("--worker=all", run)
    inner = shlex.split(run)[-1].removeprefix("--command=")
    self.assertEndsWith(inner, "main.py --config=a\\ b  --workdir=$HOME/runs/mine")

  def test_a_shared_folder_is_mounted_on_all_workers(self):
    done = self._dry(
      "-n", "mine", "main.py", TYPE="t", ZONE="z", SHARE="10.0.0.2:/share", KEEP="1"
    )
    self.assertIn("mount\\ -t\\ nfs\\ 10.0.0.2:/share", done.stdout)
    self.assertIn("--workdir=/mnt/share/runs/mine", done.stdout)
    self.assertNotIn("delete", done.stdout)

  def test_workers_have_a_python_found(self):
    done = self._dry("-n", "mine", "main.py", TYPE="t", ZONE="z")
    (setup,) = [word for word in shlex.split(done.stdout) if " -m venv " in word]
    self.assertIn("python=$(launch/find_python.sh) && $python -m venv .venv && ", setup)

  @parameterized.parameters(
    ({"python3": "3.12"}, "python3", ""),
    ({"python3": "3.10", "python3.12": "3.12"}, "python3.12", ""),
    ({"python3": "3.10"}, "python3.11", "python3.11 python3.11-venv"),
    ({}, "", "another thing"),
  )
  def test_a_python_that_is_new_enough_is_found_or_installed(self, there, found, of_apt):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def add(name, script):
      (folder / name).write_text(f"#!/bin/bash\n{script}\n")
      (folder / name).chmod(0o755)

    for name, version in there.items():
      add(name, f"[[ {version} > 3.10 ]]")  # Of the check of its version.
    installed = f"{folder}/python3.11"
    add("sudo", f'echo "$*"; [[ $* == *"{of_apt}" ]] && /bin/ln -s /bin/true {installed}')
    done = subprocess.run(
      ["/bin/bash", _LAUNCH / "find_python.sh"],
      env={"PATH": str(folder)},
      capture_output=True,
      text=True,
    )
    status = 0 if found else 2
    self.assertEqual((done.returncode, done.stdout.strip()), (status, found), done.stderr)
    self.assertEqual("apt-get" in done.stderr, bool(of_apt))
    self.assertEqual("error: there is no Python of 3.11" in done.stderr, not found)

  @parameterized.parameters(
    ([], {}, "tpu_pod.sh \\[-n\\] NAME COMMAND"),
    (["mine"], {}, "tpu_pod.sh \\[-n\\] NAME COMMAND"),
    (["-n", "mine", "main.py"], {"TYPE": "t"}, "error: ZONE is not set"),
  )
  def test_bad_input(self, arguments, environment, words):
    done = self._dry(*arguments, **environment)
    self.assertEqual((done.returncode, done.stdout), (2, ""))
    self.assertRegex(done.stderr, words)


_PROCESS = """#!/bin/bash
id=${@: -1}; id=${id#--process_id=}
trap 'sleep 0.2; echo saved; exit 143' TERM
case $1 in
  ok) echo "$2 $3" | sed "s/=127.0.0.1:[0-9]*/=PORT/" ;;
  fails) if [[ $id == 1 ]]; then exit 7; fi; sleep 60 >/dev/null 2>&1 & wait $! ;;
  bad) exit 2 ;;
  none) exec no_such_command 2>/dev/null ;;
  one_none) if [[ $id == 1 ]]; then exit 127; fi; sleep 60 >/dev/null 2>&1 & wait $! ;;
  waits) echo waiting; sleep 60 >/dev/null 2>&1 & wait $! ;;
esac
"""


class LocalTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.process = pathlib.Path(folder, "process.sh")
    self.process.write_text(_PROCESS)
    self.process.chmod(0o755)

  def test_processes_are_told_of_each_other(self):
    done = _run(_LAUNCH / "local.sh", "-n", 3, self.process, "ok")
    self.assertEqual(done.returncode, 0, done.stderr)
    line = "--coordinator_address=PORT --num_processes=3\n"
    self.assertEqual(done.stdout, 3 * line)

  @parameterized.parameters(
    ("fails", 0, 7, 0),
    ("fails", 2, 7, 2),
    ("bad", 2, 2, 0),
    ("none", 0, 127, 0),
    ("one_none", 1, 127, 1),
  )
  def test_one_that_fails_ends_all_and_may_be_tried_again(self, how, r, status, again):
    began = time.monotonic()
    done = _run(_LAUNCH / "local.sh", "-n", 2, "-r", r, self.process, how)
    self.assertEqual(done.returncode, status)
    self.assertEqual(done.stderr.count("starting again"), again)
    self.assertLess(time.monotonic() - began, 30.0)  # The other would sleep for 60.

  def test_sigterm_reaches_all_and_waits_for_them(self):
    command = [str(_LAUNCH / "local.sh"), "-n", "2", "-r", "5", str(self.process), "waits"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as launcher:
      for _ in range(2):
        self.assertEqual(launcher.stdout.readline(), "waiting\n")
      launcher.send_signal(signal.SIGTERM)
      said, _ = launcher.communicate(timeout=30)
    self.assertEqual((launcher.returncode, said), (143, "saved\nsaved\n"))

  @parameterized.parameters(
    (["-n", "two", "ls"], "two is not a whole number"),
    (["-n", "0", "ls"], "local.sh .-n PROCESSES"),
    (["-n", "2"], "local.sh .-n PROCESSES"),
    (["no_such_command"], "no_such_command is no command"),
  )
  def test_bad_input(self, arguments, words):
    done = _run(_LAUNCH / "local.sh", *arguments)
    self.assertEqual((done.returncode, done.stdout), (2, ""))
    self.assertRegex(done.stderr, words)


if __name__ == "__main__":
  absltest.main()
