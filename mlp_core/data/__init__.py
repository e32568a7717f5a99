"""Examples: sources, splits and batches."""
