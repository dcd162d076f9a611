"""What a config's fields become: victims' optimisers and images, the attacker's view."""

from unittest import mock

import finished_run
import numpy as np
from absl.testing import absltest, parameterized

from pacd_jax import assembly, augment, experiment, models

_SELECTED = {"attack.selection.corners": True}  # Candidates, so that surrogates choose.


def _build(**overrides):
  return experiment.build(finished_run.smoke(**overrides), "unused")


def _trainings(**overrides):
  """What `train.make` was given for a selection's fresh surrogates, and for victims."""
  with mock.patch.object(assembly.train, "make", wraps=assembly.train.make) as make:
    _build(**_SELECTED, **overrides)
  return make.call_args_list


class VictimsTest(parameterized.TestCase):
  def test_weight_decay_is_of_victims_alone(self):
    """theta <- theta - lr (m / sqrt(v) + w theta): at the first step, m / sqrt(v) = +-1."""
    rate = {"train.learning_rate": 0.01, "train.schedule": "constant"}
    params, gradient = np.array([2.0, -3.0, 0.0]), np.array([0.5, 0.25, -4.0])
    found = []
    for call in _trainings(**rate, **{"train.weight_decay": 0.5}):
      optimizer = call.args[2]
      updates, _ = optimizer.update(gradient, optimizer.init(params), params)
      found.append(updates)
    adam = -0.01 * np.sign(gradient)
    np.testing.assert_allclose(found, [adam, adam - 0.01 * 0.5 * params], atol=1e-6)

  @parameterized.parameters(
    ("none", "", None, None),
    ("none", "crop_and_flip", augment.crop_and_flip, None),
    ("crop_and_flip", "", augment.crop_and_flip, augment.crop_and_flip),
    ("crop_and_flip", "none", None, augment.crop_and_flip),
  )
  def test_the_attacker_knows_no_augmentation_of_the_victims_own(
    self, of_data, own, of_victims, of_surrogates
  ):
    config = {"data.augment": of_data, "train.augment": own}
    found = [call.kwargs["augment"] for call in _trainings(**config)]
    self.assertEqual(found, [of_surrogates, of_victims])
    model = models.make("linear", num_classes=10, image_shape=(8, 8, 1))
    settings = assembly.attack_settings(finished_run.smoke(**config).to_dict(), model)
    self.assertIs(settings.augment, of_surrogates)


if __name__ == "__main__":
  absltest.main()
