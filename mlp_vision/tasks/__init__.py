"""Image classification: config, loss and experiment."""
