"""Devices to compile for, in benchmarks that run nothing on them."""

import sys
from collections.abc import Sequence

import jax

from mlp_core.errors import UserError
from mlp_core.planning.chips import Chip, open_topology


def devices_to_compile_for(topology: str) -> tuple[Sequence[jax.Device], Chip | None]:
    """Those of a topology; ends the process with a sentence where there is none."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)  # It cannot keep programs for TPUs.
    try:
        return open_topology(topology)
    except UserError as error:
        sys.exit(f"error: {error}")
