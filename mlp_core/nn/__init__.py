"""Layers, blocks and their parameters."""
