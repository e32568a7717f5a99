"""Tests of mlp_core.datasets."""
