"""Tests of mlp_vision."""
