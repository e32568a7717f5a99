"""Single runs, and commands that train several."""
