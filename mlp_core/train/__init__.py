"""Training: the step, the training loop, and logging."""
