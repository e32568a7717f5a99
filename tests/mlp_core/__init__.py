"""Tests of mlp_core."""
