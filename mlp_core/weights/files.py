"""Weight files: npz or safetensors, detected by content and written by suffix."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
from safetensors import SafetensorError

from mlp_core.errors import UserError
from mlp_core.process.files import whole_output
from mlp_core.weights import npz as npz_format
from mlp_core.weights import safetensors as safetensors_format
from mlp_core.weights.arrays import ArrayHeader, check_dtype, check_finite
from mlp_core.weights.file_kinds import NPZ, SAFETENSORS, kind_of

SUFFIXES = {".npz": npz_format, ".safetensors": safetensors_format}
FORMATS = {NPZ: npz_format, SAFETENSORS: safetensors_format}


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """A weight file with only its headers read."""

    path: Path
    headers: dict[str, ArrayHeader]
    metadata: dict[str, str]  # Empty unless this project wrote the file.
    _format: ModuleType

    def check(self) -> None:
        """Reads and validates the whole file without keeping it.

        Raises:
            UserError: it is damaged, or an array is not floating-point or not finite.
        """
        for _ in self._arrays():
            pass

    def read(self) -> dict[str, np.ndarray]:
        """Returns all arrays as float32.

        Raises:
            UserError: see `check`.
        """
        return dict(self._arrays())

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        for name, header in self.headers.items():
            check_dtype(self.path, name, header.dtype)
        for name, array in self._format.read_arrays(self.path):
            check_finite(self.path, name, array)
            yield name, array


def open_weight_file(path: Path) -> WeightFile:
    """Detects the format by its structure and reads the headers.

    Raises:
        UserError: the file does not exist or is not a weight file.
    """
    weight_format = _format_of(path)
    return WeightFile(path, *weight_format.read_headers(path), weight_format)


def write_weight_file(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Atomically writes float32 arrays as npz or safetensors, depending on the suffix.

    Raises:
        UserError: the suffix is not supported, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: name a file that ends in {' or '.join(SUFFIXES)}.")
    try:
        with whole_output(path) as part:
            SUFFIXES[path.suffix].write(part, arrays, metadata or {})
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be written ({reason}).") from error


def _format_of(path: Path) -> ModuleType:
    try:
        if path.exists() and not path.is_file():
            raise UserError(
                f"{path}: this is a folder, pipe or device; name a file that ends in "
                f"{' or '.join(SUFFIXES)}."
            )
        kind = kind_of(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    if kind not in FORMATS:
        raise UserError(f"{path}: this is {kind.description}; {kind.advice}.")
    return FORMATS[kind]
