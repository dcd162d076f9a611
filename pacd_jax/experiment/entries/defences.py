"""Defences of the training set by name: `defense.chain`."""
