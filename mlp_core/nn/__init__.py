"""Layers and blocks, and the parameters that they are made of."""
