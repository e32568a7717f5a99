"""Tests of Cloud TPU VM jobs."""
