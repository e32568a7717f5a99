"""What images and text share: configuration, input, training loop, checkpoints, weight files."""
