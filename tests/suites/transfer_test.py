"""Transfer: every kind of victim on every poison, compared, or refused as a whole."""

import json

import asked
import finished_run
import ml_collections
import pytest
from absl.testing import absltest, parameterized

from pacd_jax import errors
from pacd_jax.experiment import door, schema


def _config(path, **of_macer):
  """Two kinds of victims with one poison."""
  config = ml_collections.ConfigDict()
  macer = {"train.loss": "macer", "train.macer.num_noise_samples": 2}
  config.victims = {
    "gaussian": finished_run.smoke(),
    "macer": finished_run.smoke(**macer | of_macer),
  }
  config.poisons = {"pacd_run": str(path), "yours": ""}
  config.data = {"data_dir": ""}
  return config


class TransferTest(finished_run.FinishedRunTestCase):
  @pytest.mark.long
  def test_whole(self):
    table = asked.run(_config(self.finished), self.workdir)
    results = json.loads((self.workdir / "results.json").read_text())
    self.assertEqual([v["victim"] for v in results["victims"]], ["gaussian", "macer"])
    for victim in results["victims"]:
      self.assertEqual([row["data"] for row in victim["rows"]], ["clean", "pacd_run"])
      own = json.loads((self.workdir / victim["victim"] / "results.json").read_text())
      self.assertEqual(victim["rows"], own["rows"])
    # Gaussian victims are those of the run that the poison is from.
    made = json.loads((self.finished / "results.json").read_text())["rows"]
    self.assertEqual(results["victims"][0]["rows"][0]["acr"], made[0]["acr"])
    self.assertEqual(results["victims"][0]["rows"][1]["acr"], made[3]["acr"])
    for words in ("ACR", "ACA %", "gaussian", "macer", "pacd_run", "victims: 2"):
      self.assertIn(words, table)
    page = (self.workdir / "report" / "index.html").read_text()
    for words in ("data:image/png;base64", "pacd_run", "../macer/report/index.html"):
      self.assertIn(words, page)
    self.assertTrue((self.workdir / "report" / "transfer.png").exists())
    self.assertTrue((self.workdir / "macer" / "report" / "index.html").exists())
    # Again: nothing is done, and the same is said.
    before = (self.workdir / "macer/certificates/clean/seed_0.tsv").stat().st_mtime_ns
    self.assertEqual(asked.run(_config(self.finished), self.workdir), table)
    after = (self.workdir / "macer/certificates/clean/seed_0.tsv").stat().st_mtime_ns
    self.assertEqual(before, after)

  @parameterized.parameters(
    ({"certify.n": 100}, "victims gaussian and macer differ in certify: give all"),
    ({"certify.num_points": 4}, "differ in certify"),
    ({"sigma": 0.5}, "differ in sigma"),
    ({"train.num_victims": 1}, "differ in train.num_victims"),
    ({"data.num_train": 400}, "differ in data:"),
    ({"train.macer.gamma": 0.0}, "victim macer: config field train.macer.gamma is 0.0"),
    ({"train.macer.gamma": 21.0}, r"train.macer.gamma is 21.0: it must be in \(0, 20\]"),
  )
  def test_refuses_victims_that_cannot_be_compared(self, of_macer, message):
    if "data.num_train" in of_macer:
      of_macer = of_macer | {"attack.clean_batch": 20, "attack.poison_batch": 4}
    self.refuses(message, _config(self.finished, **of_macer))

  def test_refuses_a_missing_poison(self):
    config = _config("no/such/run")
    config.poisons.yours = "no/such.npz"
    message = r"poisons.pacd_run \(no/such/run\), poisons.yours \(no/such.npz\): run what"
    self.refuses(message, config)

  def test_a_transfer_is_no_run_to_load(self):
    asked.run(_config(self.finished), self.workdir, ("attack",))
    message = "is a transfer: load the run of one of its victims.*run/gaussian, .*run/macer"
    with self.assertRaisesRegex(errors.InputError, message):
      door.load(self.workdir)
    loaded = door.load(self.workdir / "macer")
    self.assertEqual(loaded.rows, ("clean", "pacd_run"))

  def test_refuses_no_poison_and_no_victim(self):
    self.refuses("a transfer needs victims and poisons.*poisons.yours", _config(""))
    config = _config(self.finished)
    config.victims = ml_collections.ConfigDict()
    self.refuses("a transfer needs victims and poisons", config)

  @parameterized.parameters("clean", "report", "a/b", "a b")
  def test_refuses_names_that_cannot_be_folders(self, name):
    config = _config(self.finished)
    with config.unlocked():
      config.victims = ml_collections.ConfigDict({"gaussian": config.victims.gaussian})
      config.victims[name] = finished_run.smoke()
    self.refuses("unusable name", config)

  def test_the_data_folder_is_for_every_victim(self):
    config = _config(self.finished)
    config.data.data_dir = "somewhere"
    self.refuses("data.data_dir=somewhere is for mnist and cifar10, not for", config)

  @pytest.mark.long
  def test_goes_on_from_every_stage(self):
    config = _config(self.finished)
    with self.assertRaisesRegex(errors.InputError, "victim gaussian: .*run --stage=attack"):
      asked.run(config, self.workdir, ("certify",))
    asked.run(config, self.workdir, ("attack",))
    for victim in ("gaussian", "macer"):
      self.assertTrue((self.workdir / victim / "poison" / "pacd_run.npz").exists())
    for stage in ("train", "certify"):
      self.assertIsNone(asked.run(config, self.workdir, (stage,)))
    table = asked.run(config, self.workdir, ("report",))
    self.assertIn("pacd_run", table)
    self.assertEqual(asked.run(config, self.workdir), table)

  def test_an_error_names_its_victim(self):
    message = "victim macer: config field train.macer.lam is -1.0"
    self.refuses(message, _config(self.finished, **{"train.macer.lam": -1.0}))

  def test_refuses_other_fields(self):
    config = _config(self.finished)
    with config.unlocked():
      config.sigma = 0.5
    self.refuses("config field sigma is unknown: a transfer has victims", config)

  def test_flags_name_a_victims_fields(self):
    schema.check_flag("victims.macer.train.macer.lam")
    schema.check_flag("poisons.yours")
    with self.assertRaisesRegex(errors.InputError, "train.epochs is unknown: use one of"):
      schema.check_flag("victims.macer.train.epochs")


if __name__ == "__main__":
  absltest.main()
