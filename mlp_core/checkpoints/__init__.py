"""Checkpoints: saved, checked and restored."""
