"""Compiled programs kept from run to run."""

import jax

from mlp_core.downloads import cache_dir


def enable_compilation_cache() -> None:
    """Keeps compiled programs in the cache folder, unless JAX was told of another one."""
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
