"""Certificates against poisoning: many models of small parts of a training set, and others.

A partition says which part an image belongs to (`partitions`), a rule turns the votes of
one model for each part into a prediction and the number of changed images that cannot move
it (`deep_partition`, `finite_aggregation`, `run_off`). Certificates of other kinds: of
flipped labels (`label_flips`), and of changed pixels (`rab`, `nearest_neighbours`).
"""
