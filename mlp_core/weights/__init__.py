"""Weight files and their sources."""
