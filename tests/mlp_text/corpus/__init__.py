"""Tests of mlp_text."""
