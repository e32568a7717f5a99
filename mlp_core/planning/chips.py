"""The TPUs that libtpu compiles for, what each has, and their topologies."""

import dataclasses
import importlib.metadata
import importlib.util
import math
import os
import re
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from mlp_core.errors import UserError

MIB, GIB = 2**20, 2**30
_OF_PAPER = "within two fifths of the throughput that MLP-Mixer measured"
_UNCHECKED = "not checked against a measurement"
_TOO_LONG = (
    "not to be trusted: for the products of channel mixing they are 1.4 to 2.2 times what the "
    "compiler's own schedule takes"
)
_LIKE_V6E = "not to be trusted: unchecked, and its matrix units have the size of v6e's"
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


@dataclasses.dataclass(frozen=True)
class Chip:
    """A device as JAX sees it: a core where a chip's two cores are apart, else a whole chip."""

    generation: str  # As topologies are named: v3:4x4.
    device_kind: str  # As the device calls itself.
    unit: str  # "core" or "chip".
    hbm_gib: float  # That a program can have.
    clock: float  # Cycles a second.
    peak_flops: float  # A second, in bfloat16.
    link_bytes: float  # A second, sent over all links of the interconnect at once.
    is_trusted: bool  # Whether the compiler's cycles tell how long a step takes.
    check: str  # What the cycles were compared with.

    @property
    def hbm_bytes(self) -> float:
        """HBM that a program can have."""
        return self.hbm_gib * GIB


# The cycles of a product are the compiler's guess from before it schedules the instructions. It
# adds about 8 cycles for each tile of 1,024 results on v6e, as if memory took a quarter of its
# documented bandwidth. On v3 and v5e the products of wide layers take longer than that, and hide
# it; the matrix units of v6e are too fast for that.
# HBM is what libtpu's compiler says there is when a program needs more. Peaks and links are those
# of Cloud TPU's documentation, for each generation; links of v2 and v3: Jouppi et al., A Domain-
# Specific Supercomputer for Training Deep Neural Networks, CACM 2020, as are their clocks, and that
# of v4 Jouppi et al., TPU v4, ISCA 2023. The other clocks follow from the peak and what the matrix
# units do in a cycle, four (v5p: eight) of 128 x 128 products and sums, in v6e and TPU7x as many of
# 256 x 256 as the compiler's own estimates imply.
CHIPS = (
    Chip("v2", "TPU v2", "core", 7.48, 0.700e9, 22.9e12, 124e9, True, _UNCHECKED),
    Chip("v3", "TPU v3", "core", 15.48, 0.940e9, 61.4e12, 164e9, True, _OF_PAPER),
    Chip("v4", "TPU v4", "chip", 30.75, 1.050e9, 275e12, 300e9, True, _UNCHECKED),
    Chip("v5e", "TPU v5 lite", "chip", 15.75, 1.503e9, 197e12, 200e9, True, _UNCHECKED),
    Chip("v5p", "TPU v5", "chip", 95.73, 1.751e9, 459e12, 600e9, True, _UNCHECKED),
    Chip("v6e", "TPU v6 lite", "chip", 31.24, 1.751e9, 918e12, 400e9, False, _TOO_LONG),
    Chip("tpu7x", "TPU7x", "core", 94.74, 2.200e9, 1153.5e12, 300e9, False, _LIKE_V6E),
)


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
