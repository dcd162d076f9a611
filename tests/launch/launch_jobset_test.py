"""The JobSets of launch/: fields as the schemas have them, and what a host would run."""

import os
import pathlib
import subprocess
import tempfile

import yaml
from absl.testing import absltest, parameterized

_JOBSETS = pathlib.Path(__file__).resolve().parents[2] / "launch/gke_jobset.yaml"

# What JobSet's and Kubernetes' published schemas allow where the file has something.
_POD = {
  "restartPolicy": str,
  "terminationGracePeriodSeconds": int,
  "nodeSelector": dict,
  "containers": [
    {
      "name": str,
      "image": str,
      "workingDir": str,
      "command": [str],
      "args": [str],
      "env": [
        {
          "name": str,
          "value": str,
          "valueFrom": {"fieldRef": {"fieldPath": str}},
        }
      ],
      "ports": [{"containerPort": int}],
      "resources": {"limits": dict},
      "volumeMounts": [{"name": str, "mountPath": str}],
    }
  ],
  "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str}}],
}
_JOB = {
  "parallelism": int,
  "completions": int,
  "completionMode": str,
  "backoffLimit": int,
  "podFailurePolicy": {
    "rules": [
      {
        "action": str,
        "onExitCodes": {"containerName": str, "operator": str, "values": [int]},
      }
    ]
  },
  "template": {"spec": _POD},
}
_JOBSET = {
  "apiVersion": str,
  "kind": str,
  "metadata": {"name": str, "labels": dict},
  "spec": {
    "failurePolicy": {
      "maxRestarts": int,
      "rules": [{"name": str, "action": str, "onJobFailureReasons": [str]}],
    },
    "replicatedJobs": [{"name": str, "replicas": int, "template": {"spec": _JOB}}],
  },
}


def _faults(value, schema, where=""):
  """Where a value has a field, or a type, that the schema does not."""
  if isinstance(schema, type):
    return [] if isinstance(value, schema) else [f"{where}: {value!r}"]
  if isinstance(schema, list):
    if not isinstance(value, list):
      return [f"{where}: no list"]
    return [f for item in value for f in _faults(item, schema[0], f"{where}[]")]
  if not isinstance(value, dict):
    return [f"{where}: no mapping"]
  unknown = [f"{where}.{name}" for name in value.keys() - schema.keys()]
  known = value.keys() & schema.keys()
  return unknown + [
    f for name in known for f in _faults(value[name], schema[name], f"{where}.{name}")
  ]


class JobSetTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.text = _JOBSETS.read_text()
    self.sets = {s["metadata"]["name"]: s for s in yaml.safe_load_all(self.text)}

  def test_fields_are_those_of_the_schemas(self):
    self.assertEqual(list(self.sets), ["pacd-tpu", "pacd-gpu"])
    for jobset in self.sets.values():
      self.assertEmpty(_faults(jobset, _JOBSET))
      self.assertEqual(jobset["apiVersion"], "jobset.x-k8s.io/v1alpha2")
    wrong = yaml.safe_load(self.text.split("\n---\n")[0].replace("backoffLimit", "backoff"))
    self.assertEqual(
      _faults(wrong, _JOBSET), [".spec.replicatedJobs[].template.spec.backoff"]
    )

  def test_every_host_is_one_process_of_the_run(self):
    for jobset in self.sets.values():
      (of_run,) = jobset["spec"]["replicatedJobs"]
      job = of_run["template"]["spec"]
      self.assertEqual(of_run["name"], "run")  # As in the coordinator's name.
      self.assertEqual(job["parallelism"], job["completions"])
      self.assertEqual(job["completionMode"], "Indexed")
      (container,) = job["template"]["spec"]["containers"]
      (rule,) = job["podFailurePolicy"]["rules"]
      self.assertEqual(rule["onExitCodes"]["values"], [2, 3])
      self.assertEqual(rule["onExitCodes"]["containerName"], container["name"])
      hosts = {e["name"]: e.get("value") for e in container["env"]}.get("HOSTS")
      self.assertIn(hosts, (None, str(job["parallelism"])))

  @parameterized.parameters(
    ("pacd-tpu", {"LINE": "2"}, ""),
    (
      "pacd-gpu",
      {"RUN": "1", "JOBSET": "pacd-gpu", "HOSTS": "2", "JOB_COMPLETION_INDEX": "1"},
      " --coordinator_address=pacd-gpu-run-1-0.pacd-gpu:8476 --num_processes=2 "
      "--process_id=1",
    ),
  )
  def test_a_host_runs_the_line_of_its_run(self, name, environment, flags):
    folder = self.enterContext(tempfile.TemporaryDirectory())
    lines = pathlib.Path(folder, "sweep.txt")
    spec = self.sets[name]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    (container,) = spec["spec"]["containers"]
    (script,) = container["args"]
    script = script.replace("/share/sweep.txt", str(lines))
    refusal = f"error: {lines} has no line 2\n"
    for text, expected in (
      (
        "exit 1\necho --config.rows=\"('clean', 'pacd')\"\n",
        (0, f"--config.rows=('clean', 'pacd'){flags}\n", ""),
      ),
      ("exit 1\ntrue  # finished: runs/one\n", (0, "", "")),
      ("exit 1\n", (2, "", refusal)),
      (None, (2, "", refusal)),
    ):
      lines.unlink(missing_ok=True)
      if text is not None:
        lines.write_text(text)
      done = subprocess.run(
        [*container["command"], script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
      )
      self.assertEqual((done.returncode, done.stdout, done.stderr), expected)


if __name__ == "__main__":
  absltest.main()
