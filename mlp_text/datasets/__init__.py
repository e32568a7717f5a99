"""Labelled texts: GLUE without TensorFlow, any TFDS data set of texts, and tables of one's own."""
