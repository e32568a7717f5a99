"""Weight files: npz or safetensors, told apart by their content and written by their suffix."""

import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
from safetensors import SafetensorError

from mlp_core import npz_format, safetensors_format
from mlp_core.errors import UserError
from mlp_core.output_files import whole_output
from mlp_core.stored_arrays import ArrayHeader, check_dtype

SUFFIXES = {".npz": npz_format, ".safetensors": safetensors_format}


@dataclasses.dataclass(frozen=True)
class WeightFile:
    """A weight file of which only the headers have been read."""

    path: Path
    headers: dict[str, ArrayHeader]
    metadata: dict[str, str]  # What this project wrote beside the arrays; else nothing of ours.
    _format: ModuleType

    def check(self) -> None:
        """Reads the file through without keeping it.

        Raises:
            UserError: it is damaged, or an array is not of a floating type.
        """
        for name, header in self.headers.items():
            check_dtype(self.path, name, header.dtype)
        self._format.check(self.path)

    def read(self) -> dict[str, np.ndarray]:
        """All arrays, as float32.

        Raises:
            UserError: see `check`.
        """
        return self._format.read_arrays(self.path)


def open_weight_file(path: Path) -> WeightFile:
    """Recognises the format by the first bytes and reads the headers.

    Raises:
        UserError: there is no such file, or it is no weight file.
    """
    weight_format = _format_of(path)
    return WeightFile(path, *weight_format.read_headers(path), weight_format)


def write_weight_file(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes float32 arrays as npz or safetensors, as the suffix says; whole or not at all.

    Raises:
        UserError: the suffix is neither, or the file cannot be written.
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
        with path.open("rb") as file:
            start = file.read(512)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    if b"<html" in start.lower() or b"<?xml" in start.lower():
        raise UserError(f"{path}: this is a web page (an error of the server's?), not weights.")
    if start.startswith(b"\x80") or _is_torch_archive(path):
        raise UserError(
            f"{path}: this is a pickle of PyTorch's, which could run any code when it is read; "
            "take the safetensors file of the same weights."
        )
    if start.startswith(npz_format.MAGIC):
        return npz_format
    if safetensors_format.looks_like(start):
        return safetensors_format
    raise UserError(f"{path}: this is neither an npz nor a safetensors file.")


def _is_torch_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except npz_format.DAMAGE:  # No archive, or a damaged one.
        return False
