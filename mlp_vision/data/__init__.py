"""Data sets of images, read and cut on the host."""
