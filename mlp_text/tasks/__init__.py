"""Masked language modelling and text classification: settings, losses, experiments."""
