"""Tests of mlp_text.datasets."""
