"""Architectures for images, and the models of each by name."""
