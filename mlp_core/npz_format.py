"""Weight files in numpy's npz format: flat arrays named `a/b/c`.

Nothing that is read can run code: pickled objects are refused. Metadata stand as JSON in the
comment of the zip archive, where other readers of the format do not look.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from mlp_core.errors import UserError
from mlp_core.stored_arrays import ArrayHeader, as_float32, check_dtype

MAGIC = b"PK"
MOST_COMMENT_BYTES = 65_535  # Of a zip archive.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, OSError),
    *(RuntimeError, NotImplementedError),  # An encrypted or an exotically packed member.
)


def read_headers(path: Path) -> tuple[dict[str, ArrayHeader], dict[str, str]]:
    """Names, shapes and types of the arrays, which are not read, and the metadata.

    Raises:
        UserError: this is no whole npz file.
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
        return headers, _metadata(archive.comment)


def check(path: Path) -> None:
    """Compares every array with the checksum stored beside it.

    Raises:
        UserError: the file is damaged.
    """
    with _opened(path) as archive:
        if (member := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{member} differs from its checksum")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays as float32, each checked against the checksum stored with it.

    Raises:
        UserError: the file is damaged, or an array is not of a floating type.
    """
    arrays = {}
    with _opened(path), np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            array = archive[name]
            check_dtype(path, name, array.dtype)
            arrays[name] = as_float32(array)
    return arrays


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes float32 arrays under their names, and metadata that `holds_metadata`."""
    comment = _comment(metadata)
    with path.open("wb") as file:
        np.savez(file, **{name: np.asarray(rows, np.float32) for name, rows in arrays.items()})
    if comment:
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = comment


def holds_metadata(metadata: Mapping[str, str]) -> bool:
    """Whether the metadata are short enough for the format."""
    return len(_comment(metadata)) <= MOST_COMMENT_BYTES


def _comment(metadata: Mapping[str, str]) -> bytes:
    return json.dumps(metadata, ensure_ascii=False).encode() if metadata else b""


def _metadata(comment: bytes) -> dict[str, str]:
    """What `write` put into the comment; nothing where another program wrote it."""
    try:
        metadata = json.loads(comment)
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An npz file opened as a zip archive, with damage told in one sentence."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except UserError:
        raise
    except DAMAGE as error:
        raise UserError(
            f"{path}: damaged, cut short, or not a file of arrays ({error}); fetch it again."
        ) from error
