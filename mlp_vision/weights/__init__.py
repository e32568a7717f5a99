"""Opens published and trained weights and adapts them to a model."""
