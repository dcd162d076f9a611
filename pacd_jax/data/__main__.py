"""The command `pacd prepare mnist --data_dir=DIR`, which stores a data set."""

import sys

from pacd_jax.data import prepare

if __name__ == "__main__":
  sys.exit(prepare.main(sys.argv[1:]))
