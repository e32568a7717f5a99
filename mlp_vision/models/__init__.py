"""Image architectures and their named models."""
