"""Devices to compile for, by the name of a topology: those of a TPU that is not there, or here."""

import importlib.metadata
import importlib.util
import math
import os
import re
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from mlp_core.errors import UserError
from mlp_core.planning.chips import CHIPS, Chip

HERE = ("cpu", "gpu")
FLAT = ("v2", "v3", "v5e", "v6e")  # A torus of two dimensions; that of others has three.
LARGEST = 2**16  # Devices; more than any pod has.
INSTALL = 'pip install -e ".[tpu]"'
_FORM = re.compile(r"(\w+):([0-9]{1,6}(?:x[0-9]{1,6}){1,2})")
# Of libtpu, so that it does not look for a machine with TPUs around it.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v3-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # No TPU is touched, so that none need be ours alone.
}


def check_topology(name: str) -> None:
    """Refuses what is no topology, and a TPU without its compiler; opens nothing.

    Raises:
        UserError: says which there are, or how to install the compiler.
    """
    if name in HERE:
        return
    generations = [chip.generation for chip in CHIPS]
    parsed = _FORM.fullmatch(name)
    if not parsed or parsed.group(1) not in generations:
        raise UserError(
            f"--topology={name}: there is no such topology; it is one of {', '.join(generations)} "
            "and its chips along each axis, such as v3:4x4, v5e:2x4 or v4:2x2x1; or cpu or gpu, "
            "for what is there."
        )
    generation, axes = parsed.group(1), [int(length) for length in parsed.group(2).split("x")]
    if math.prod(axes) not in range(1, LARGEST):
        raise UserError(f"--topology={name}: a topology has 1 to {LARGEST:,} chips.")
    if generation in FLAT and len(axes) > 2 and axes[2] > 1:
        raise UserError(f"--topology={name}: chips of {generation} lie along two axes, as in 4x4.")
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            f"--topology={name}: the compiler for TPUs, libtpu, is not installed; {INSTALL} brings "
            "it, no TPU is needed."
        )


def open_topology(name: str) -> tuple[Sequence[jax.Device], Chip | None]:
    """The devices of a topology, and what they are; None for those of this machine.

    No TPU is opened.

    Raises:
        UserError: there is no such topology, no such device, or no compiler for it.
    """
    check_topology(name)
    if name in HERE:
        try:
            return jax.devices(name), None
        except RuntimeError as error:
            raise UserError(f"--topology={name}: there is no such device here.") from error
    generation = name.partition(":")[0]
    chip = next(chip for chip in CHIPS if chip.generation == generation)
    os.environ.update(_ENVIRONMENT)
    # The two cores of these are one device, as they are on Cloud TPU.
    options = {"chip_config_name": "megacore"} if generation == "v4" else {}
    try:
        devices = topologies.get_topology_desc(name, "tpu", **options).devices
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0].rpartition("ARGUMENT: ")[2]
        raise UserError(f"--topology={name}: libtpu refuses it ({reason}).") from error
    return devices, chip


def compiler_version() -> str:
    """Which compiler for TPUs this is."""
    return f"libtpu {importlib.metadata.version('libtpu')}"
