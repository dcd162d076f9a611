"""Tables for the questions of the paper's appendix D, and for those of reviewers."""

from typing import Any

from pacd_jax.paper import catalog
from pacd_jax.paper.catalog import Item
from pacd_jax.paper.protocol import Protocol, Run

NUM_CLASSES = 10
_PACD = ("clean", "pacd")
_ARCHITECTURES = {
  "digits": ("linear", "mlp"),
  "mnist": ("mlp", "wide_cnn"),
  "cifar10": ("vgg", "resnet32"),
}
_SMALL = ("mlp", "wide_cnn")
_FRACTIONS = (0.25, 0.5)
# Test points: the first five of the target class in the split (of digits: by seed 0).
_POINTS = {
  "digits": (7, 15, 21, 26, 29),
  "mnist": (3, 10, 14, 32, 39),
  "cifar10": (6, 8, 13, 20, 22),
}
_SAMPLES = (2, 4, 8, 16)  # k of MACER victims.
_AUGMENTATION = {"none": "no augmentation", "crop_and_flip": "crop and flip"}
_OF_TRAINING = (0.1, 0.25, 0.5)  # Shares of the victims' epochs.
_OF_RECOVERY = (0.01, 0.05, 0.2)


def _class_of(protocol: Protocol) -> int:
  return protocol.config(catalog.MAIN).data.target_class


def _classes(protocol: Protocol) -> list[Run]:
  runs, chosen = [], _class_of(protocol)
  for target in range(NUM_CLASSES):
    if target == chosen:
      run = catalog.MAIN
    else:
      run = Run(f"ga_class={target}", "ga", fields={"data.target_class": target})
    runs.append(run._replace(settings={"class": target}))
  return runs


def _retrained(prefix: str, setting: str, variants: dict) -> list[Run]:
  """Runs whose victims have other settings, on the main run's poison and on clean data."""
  return [
    Run(
      f"{prefix}={value}",
      "ga",
      ("clean",),
      fields=fields,
      poisons={catalog.POISON: catalog.MAIN},
      settings={setting: value},
      called=catalog.AS_PACD,
    )
    for value, fields in variants.items()
  ]


def _architectures(protocol: Protocol) -> list[Run]:
  names = _ARCHITECTURES[protocol.dataset]
  if protocol.dataset == "cifar10" and protocol.scale != "full":
    names = _SMALL  # Deep networks are not for two cores.
  variants = {
    name: {"model.name": name, "model.norm": "affine" if "resnet" in name else ""}
    for name in names
  }
  return _retrained("architecture", "victim", variants)


def _regularised(protocol: Protocol) -> list[Run]:
  variants: dict[str, dict[str, Any]] = {
    f"weight decay {decay:g}": {"train.weight_decay": decay} for decay in (0.01, 0.1, 1.0)
  }
  # The augmentation that the main run's victims do not use.
  usual = protocol.config(catalog.MAIN).data.augment.name == "crop_and_flip"
  other = "none" if usual else "crop_and_flip"
  variants[_AUGMENTATION[other]] = {"train.augment": other}
  runs = _retrained("victim", "victim", variants)
  return [run._replace(name=run.name.replace(" ", "_")) for run in runs]


def _samples(protocol: Protocol) -> list[Run]:
  maker = catalog.certified("macer", 0.25)
  main = protocol.config(maker).train.loss.options["macer"].num_noise_samples
  runs = [
    Run(
      f"macer_k={k}",
      "macer",
      ("clean",),
      fields={"train.macer.num_noise_samples": k},
      poisons={catalog.POISON: maker},
      settings={"k": k},
      called=catalog.AS_PACD,
    )
    for k in _SAMPLES
    if k != main
  ]
  runs.append(maker._replace(settings={"k": main}))
  return sorted(runs, key=lambda run: run.settings["k"])


def _points(protocol: Protocol) -> list[Run]:
  points = _POINTS[protocol.dataset]
  fields = {
    "data.target_points": points,
    "attack.val_batch": len(points),
    "attack.selection.num_points": 0,
    "certify.num_points": 0,
  }
  return [Run("points", "ga", fields=fields, settings={"points": len(points)})]


def _fractions(protocol: Protocol) -> list[Run]:
  main = catalog.MAIN
  epsilon = float(protocol.config(main).attack.epsilon)
  runs = [main._replace(settings={"alpha": 1.0, "epsilon": epsilon})]
  for alpha in _FRACTIONS:
    for budget in (epsilon, epsilon / alpha):
      runs.append(
        Run(
          f"ga_alpha={alpha:g}_epsilon={budget:g}",
          "ga",
          fields={"attack.poisoned_fraction": alpha, "attack.epsilon": budget},
          settings={"alpha": alpha, "epsilon": budget},
        )
      )
  return runs


def _lengths(protocol: Protocol) -> list[Run]:
  main = catalog.MAIN
  whole = protocol.config(main).train.num_epochs
  lengths = sorted({max(1, round(share * whole)) for share in _OF_TRAINING} - {whole})
  variants = {length: {"train.num_epochs": length} for length in lengths}
  runs = _retrained("ga_epochs", "epochs", variants)
  return [*runs, main._replace(settings={"epochs": whole})]


def _recovered(protocol: Protocol) -> list[Run]:
  main = catalog.MAIN
  whole = protocol.config(main).train.num_epochs
  lengths = sorted({max(1, round(share * whole)) for share in _OF_RECOVERY})
  variants = {length: {"train.recovery_epochs": length} for length in lengths}
  runs = _retrained("ga_recovery", "clean epochs after", variants)
  return [main._replace(settings={"clean epochs after": 0}), *runs]


def _main(protocol: Protocol) -> list[Run]:
  return [catalog.MAIN]


ITEMS = (
  Item(
    "classes",
    "Every target class (appendix D)",
    "The attack on each class in turn: ACR of that class, and of the other nine together, "
    "over all of their points, or over as many as of the class where that is sampled.",
    _classes,
    ("class",),
    ("acr", "acr_others"),
    analysis="other_classes",
    shows=_PACD,
    axis="class",
  ),
  Item(
    "architectures",
    "Victims of other architectures (appendix D.4)",
    "The main run's poison on victims of another network than the attack's surrogates.",
    _architectures,
    ("victim",),
  ),
  Item(
    "regularisation",
    "Weight decay and augmentation in the victim (appendix D.5)",
    "The main run's poison; the attack does not know of it. Flips mirror digits, too.",
    _regularised,
    ("victim",),
  ),
  Item(
    "macer_k",
    "MACER victims with more samples",
    "MACER's poison, made with k = 2, on victims of other k.",
    _samples,
    ("k",),
    axis="k",
    shows=_PACD,
  ),
  Item(
    "points",
    "A few chosen test points instead of a class (appendix D.6)",
    "The attack's upper level is of these test points alone, and so are the certificates.",
    _points,
    ("points",),
  ),
  Item(
    "fraction",
    "The poisoned share alpha of the class (Corollary 2's question)",
    "With epsilon fixed, and with alpha times epsilon fixed, as if Corollary 2 held for "
    "deep networks.",
    _fractions,
    ("alpha", "epsilon"),
    shows=_PACD,
  ),
  Item(
    "training",
    "ACR along the victim's training",
    "Victims of fewer epochs on the main run's poison, as early stopping would leave them. "
    "A schedule of the learning rate is that of the shorter training.",
    _lengths,
    ("epochs",),
    axis="epochs",
    shows=_PACD,
  ),
  Item(
    "recovery",
    "Recovery by a short clean fine-tune",
    "After their epochs on the main run's poison, victims train some more on clean data. A "
    "schedule of the learning rate spans both.",
    _recovered,
    ("clean epochs after",),
    axis="clean epochs after",
    shows=_PACD,
  ),
  Item(
    "detectability",
    "Can it be seen?",
    "Distances of every poison from its base images, means over them; PSNR in dB.",
    catalog.epsilons,
    ("epsilon",),
    ("linf", "l2", "psnr", "ssim"),
    analysis="detectability",
  ),
  Item(
    "paired",
    "Paired differences on the same test points",
    "Certified radius after each training set less that after clean data, point by point, "
    "with a bootstrap interval of 95 %.",
    _main,
    ("sigma",),
    ("radius_difference",),
    analysis="paired",
  ),
)
