"""All-MLP networks for text."""
