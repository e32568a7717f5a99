"""Lines for the person who watches a run, clear of a progress bar."""

import sys

import jax
from tqdm import tqdm


def say(text: str = "") -> None:
    """Prints `text` on the first host, above the progress bar if one is drawn."""
    if jax.process_index() == 0:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()


def say_from_any_host(text: str) -> None:
    """Prints what only this host knows, with its number where there are several."""
    several = jax.process_count() > 1
    tqdm.write(f"host {jax.process_index()}: {text}" if several else text, file=sys.stdout)
    sys.stdout.flush()
