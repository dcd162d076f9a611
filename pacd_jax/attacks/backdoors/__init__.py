"""Backdoors: triggers, which are functions of images, and the poisons that plant them."""
