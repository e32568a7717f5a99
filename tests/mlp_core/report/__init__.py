"""Tests of mlp_core.planning."""
