"""Reports and figures of runs."""
