"""Weights of BERTs and of runs, opened and adapted to a model."""
