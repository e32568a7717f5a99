"""Published weights and those of runs, opened and adapted to a model."""
