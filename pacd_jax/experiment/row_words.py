"""What the rows of a report are, in words."""

from typing import Any

TRAINING_SETS = {
  "clean": "the training images as they are.",
  "watermark": "an image of another class faintly blended into each target image.",
  "classwise": "all target images shifted alike, towards the other classes' mean.",
  "random": "one random pattern added to all target images.",
  "brightness": "all target images brighter by the same.",
  "convolution": "all target images under one random filter (CUDA).",
  "error_minimizing": "error-minimising noise: the change that leaves a robust surrogate "
  "the least to learn of the class (SEM).",
  "targeted_adversarial": "adversarial examples: a clean robust surrogate takes the target "
  "images for another class (TAP).",
  "pacd": "the attack: bilevel optimisation finds the change of the images, shared by the "
  "class or each image's own, after which a classifier trained on them has a small "
  "certified radius (Algorithm 1).",
}
_ACCURACY_ATTACK = (
  "the attack on accuracy: bilevel optimisation finds the change of the images after which "
  "a classifier trained on them gets the class wrong (Table 1)."
)


def training(config: Any) -> str:
  """How a run's victims are trained, in a few words: the loss, and what is not usual."""
  options = config["train"]
  words = [options["loss"]]
  if options.get("weight_decay"):
    words.append(f"weight decay {options['weight_decay']:g}")
  if options.get("augment"):
    words.append(f"augmentation {options['augment']}")
  if options.get("recovery_epochs"):
    words.append(f"{options['recovery_epochs']} more epochs on clean data")
  return ", ".join(words)


def remarks(config: Any) -> list[str]:
  """What a run's numbers are of, where that is not the whole class; in words."""
  words, fraction = [], config["attack"].get("poisoned_fraction", 1.0)
  if fraction != 1.0:
    words.append(f"{100.0 * fraction:g} % of the class poisoned, the rest clean")
  if config["data"].get("target_points"):
    words.append("the test points were chosen, and the attack saw them")
  return words


def origin(row: str, config: Any) -> str:
  """Where the row's images come from, in words; `config` is the run's."""
  if row == "pacd" and config.get("attack", {}).get("objective") == "accuracy":
    return _ACCURACY_ATTACK
  if row in TRAINING_SETS:
    return TRAINING_SETS[row]
  return f"the poison {config.get('poisons', {}).get(row, 'of another run')}, as given."
