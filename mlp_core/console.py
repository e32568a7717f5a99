"""Lines for the person who watches a run: on the first host only, and clear of a progress bar."""

import sys

import jax
from tqdm import tqdm


def say(text: str = "") -> None:
    """Prints `text` on the first host, above the progress bar if one is drawn."""
    if jax.process_index() == 0:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()
