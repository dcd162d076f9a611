"""One image of a user's own, as a .npy file."""

import os

import numpy as np

from pacd_jax import errors
from pacd_jax.runtime import files


def read(path: str | os.PathLike) -> np.ndarray:
  """Reads an image, uint8 `[H, W, C]`, without pickle.

  Raises:
    errors.InputError: there is no such file, or it holds something else.
  """
  path = files.user_path(path)
  try:
    image = np.load(path, allow_pickle=False)
  except OSError as error:
    reason = error.strerror or "no .npy"
    raise errors.InputError(f"{path} cannot be read ({reason}): give a .npy") from None
  except (ValueError, EOFError):
    image = None
  if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
    raise errors.InputError(
      f"{path} holds no image: save an array uint8 [H, W, C] by numpy.save"
    )
  return image
