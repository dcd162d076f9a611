"""Manifolds of images: an encoder, a decoder, and training against moves on them."""
