"""Writes one command for each run of a sweep, a line each: for a shell, Slurm or JobSet.

  python launch/sweep.py configs/mnist_ga.py --over sigma=0.25,0.5 target_class=0:10 \\
      --out sweep.txt -- --config.data.data_dir=DATA

  bash sweep.txt                                                     one after the other
  sbatch --array=1-20 launch/slurm.sbatch --commands sweep.txt       as many as Slurm lets
  gke_jobset.yaml: replicas 20                                       line i + 1 in run i

Every combination of the values is a run in a folder of its own, named after them, under
`--runs`. The values stand behind the config's colon, from which configs derive other
fields, or in flags of their own if the config does not take them there. A field is named in
full, or by its end if no other field ends alike; values are separated by commas, and a:b is
the whole numbers from a to b - 1.

If the same command writes the file again, the lines of finished runs do nothing and all
others stay where they were, so that jobs may continue to read it.
"""

import sys

from pacd_jax.suites import sweep

if __name__ == "__main__":
  sys.exit(sweep.main(sys.argv[1:]))
