"""Image data sets: builders of our own that need no TensorFlow, and the way to any other."""
