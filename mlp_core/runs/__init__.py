"""One run, and several that one command trains."""
