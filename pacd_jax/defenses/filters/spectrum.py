"""Right singular vectors of tall matrices, by the eigenvectors of their Gram matrix."""

import numpy as np

_BLOCK = 4096  # Rows that are converted to float64 at a time.


def right_singular(
  vectors: np.ndarray, num: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """The largest singular values, squared, and their right singular vectors.

  Args:
    vectors: X, `[n, D]`; X'X, float64 `[D, D]`, has to fit into memory.
    num: how many, at most D; None: all.

  Returns:
    `[num]`, falling, and `[num, D]`, of unit length; each vector's sign is arbitrary.
  """
  from scipy import linalg  # Imported here: starts are to be quick.
  from scipy.sparse import linalg as of_few

  size = vectors.shape[1]
  gram = np.zeros((size, size))
  for start in range(0, len(vectors), _BLOCK):
    block = vectors[start : start + _BLOCK].astype(np.float64)
    gram += block.T @ block
  num = size if num is None else min(num, size)
  if 20 * num < size and gram.any():  # Lanczos's method is the quicker one.
    start_vector = np.random.default_rng(0).standard_normal(size)
    squared, right = of_few.eigsh(gram, num, v0=start_vector)
  else:
    squared, right = linalg.eigh(gram, subset_by_index=[size - num, size - 1])
  falling = np.argsort(-squared)
  return np.maximum(squared[falling], 0.0), right.T[falling]
