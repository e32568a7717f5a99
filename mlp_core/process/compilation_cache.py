"""Compiled programs kept from run to run."""

import re
import warnings

import jax

from mlp_core.process.console import print_error
from mlp_core.process.user_paths import cache_dir

# JAX warns so of each program.
JAX_WARNING = re.compile(
    r"Error (?:reading|writing) persistent compilation cache entry for '.*?': \w+: (.+)"
)


def enable_compilation_cache() -> None:
    """Keeps compiled programs in the cache directory, unless JAX is configured for another one.

    A directory that cannot be read or written, as on a full disk, costs no more than one note.
    """
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    show_others, noted = warnings.showwarning, []

    def show(message, *args, **kwargs) -> None:
        found = JAX_WARNING.match(str(message))
        if not found:
            show_others(message, *args, **kwargs)
        elif not noted:
            noted.append(found)
            print_error(
                f"Note: {jax.config.jax_compilation_cache_dir} cannot hold compiled programs "
                f"({found[1]}); they are compiled again in each run."
            )

    warnings.showwarning = show
