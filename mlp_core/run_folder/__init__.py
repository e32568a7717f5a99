"""The directory of a run: what lies in it, and how it is read."""
