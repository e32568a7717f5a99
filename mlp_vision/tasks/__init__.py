"""Image classification: its settings, its loss, its experiment."""
