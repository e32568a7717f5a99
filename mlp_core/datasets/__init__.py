"""Data sets as TFDS prepares them, found, made and read without TensorFlow."""
