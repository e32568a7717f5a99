"""Image data sets, read and cropped on the host."""
