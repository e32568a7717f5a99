"""Tests of mlp_text.corpus."""
