"""Process-level utilities: console, signals, memory and atomic files."""
