"""Text architectures and the named models of each."""
