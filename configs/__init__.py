"""Experiments, one a file: `get_config(arg)` returns a ConfigDict."""
