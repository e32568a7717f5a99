"""Weight files in the npz layout: flat arrays named `a/b/c`, float32.

Nothing that is read can run code: pickled objects are refused.
"""

import dataclasses
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from numpy.lib import format as npy_format

from mlp_core.errors import UserError

RAW_BFLOAT16 = np.dtype("V2")  # How numpy stores it.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, OSError),
    *(RuntimeError, NotImplementedError),  # An encrypted or an exotically packed member.
)


@dataclasses.dataclass(frozen=True)
class ArrayHeader:
    """Shape and type of a stored array."""

    shape: tuple[int, ...]
    dtype: np.dtype


def read_npz_headers(path: Path) -> dict[str, ArrayHeader]:
    """Names, shapes and types of the arrays in an npz file, without reading the arrays.

    Raises:
        UserError: there is no such file, or it is no whole npz file.
    """
    headers = {}
    with _opened(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                version = npy_format.read_magic(file)
                read = {
                    (1, 0): npy_format.read_array_header_1_0,
                    (2, 0): npy_format.read_array_header_2_0,
                }[version]
                shape, _, dtype = read(file)
            headers[member.removesuffix(".npy")] = ArrayHeader(shape, dtype)
    return headers


def check_npz(path: Path) -> dict[str, ArrayHeader]:
    """The headers of an npz file whose arrays agree with their checksums and can be read.

    Raises:
        UserError: the file is damaged, or an array is not of a floating type.
    """
    headers = read_npz_headers(path)
    for name, header in headers.items():
        _check_dtype(path, name, header.dtype)
    with _opened(path) as archive:
        if (member := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{member} differs from its checksum")
    return headers


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file as float32, each checked against the checksum stored with it.

    Half-precision arrays are widened, also bfloat16 ones, which numpy stores as raw bytes.

    Raises:
        UserError: the file is damaged, or an array is not of a floating type.
    """
    with _opened(path), np.load(path, allow_pickle=False) as archive:
        return {name: _as_float32(path, name, archive[name]) for name in archive.files}


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes float32 arrays under their names, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **{name: np.asarray(rows, np.float32) for name, rows in arrays.items()})
    os.replace(temporary, path)


def _as_float32(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    _check_dtype(path, name, array.dtype)
    if array.dtype == RAW_BFLOAT16:
        array = array.view(ml_dtypes.bfloat16)
    return array.astype(np.float32, copy=False)


def _check_dtype(path: Path, name: str, dtype: np.dtype) -> None:
    if dtype not in (np.float32, np.float16, ml_dtypes.bfloat16, RAW_BFLOAT16):
        raise UserError(
            f"{path}: {name} holds {dtype}, not float32; this is no published weight file."
        )


class _opened:
    """An npz file opened as a zip archive, with damage told in one sentence."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> zipfile.ZipFile:
        try:
            self._archive = zipfile.ZipFile(self._path)
        except FileNotFoundError as error:
            raise UserError(f"{self._path}: there is no such file.") from error
        except OSError as error:
            raise UserError(f"{self._path}: cannot be read ({error.strerror}).") from error
        except zipfile.BadZipFile as error:
            raise UserError(f"{self._path}: {self._what_it_is()}") from error
        return self._archive

    def __exit__(self, kind, error, traceback) -> None:
        self._archive.close()
        if isinstance(error, DAMAGE):
            if isinstance(error, UserError):
                return
            raise UserError(
                f"{self._path}: damaged, or not a file of arrays ({error}); fetch it again."
            ) from error

    def _what_it_is(self) -> str:
        start = self._path.read_bytes()[:512] if self._path.stat().st_size else b""
        if start.startswith(b"PK"):
            return "this npz file is cut short; fetch it again."
        if b"<html" in start.lower() or b"<?xml" in start.lower():
            return "this is a web page (an error of the server's?), not an npz file."
        return "this is no npz file."
