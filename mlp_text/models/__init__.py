"""Architectures for text, and the models of each by name."""
