"""Bounds of a network's logits over a ball of images, and what follows from them."""
