"""Data sets that TFDS has prepared or can prepare."""
