"""Weight files in numpy's npz format: flat arrays named `a/b/c`.

Reading is safe: pickled objects are rejected, arrays must have the length in their headers, and
decompress to at most a hundred times the file. Metadata are JSON in the comment of the zip archive,
which other readers ignore; they include their own checksum, since zip has none for the comment.
"""

import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mlp_core.errors import UserError
from mlp_core.process.files import parse_json
from mlp_core.weights.arrays import (
    ArrayHeader,
    as_float32,
    check_number,
    read_npy_header,
)

MOST_COMMENT_BYTES = 65_535  # Limit of the zip format.
# The record before the comment, which holds its length.
END_RECORD, END_MAGIC = struct.Struct("<4s16xH"), b"PK\5\6"
CHECKSUM = "crc32"  # Key for the checksum of the other metadata.
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # `np.savez` and `np.savez_compressed`.
MOST_UNPACKED = 100  # Times the file size.
ALWAYS_UNPACKED = 64 << 20  # Bytes that any file may unpack to.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, OSError),
    *(RuntimeError, NotImplementedError),  # Encrypted members or rare compression methods.
)


def read_headers(path: Path) -> tuple[dict[str, ArrayHeader], dict[str, str]]:
    """Reads names, shapes and types of the arrays, and the metadata.

    Raises:
        UserError: this is not a complete npz file.
    """
    with _opened(path) as archive:
        _check_comment(path, archive.comment)
        return _headers(archive), _metadata(archive.comment)


def read_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields names and float32 arrays, each verified against its stored checksum.

    Raises:
        UserError: the file is damaged.
    """
    with _opened(path), np.load(path, allow_pickle=False) as loaded:
        for name in loaded.files:
            yield name, as_float32(loaded[name])


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes named float32 arrays and metadata that pass `holds_metadata`."""
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
    return _as_json({**metadata, CHECKSUM: _checksum(metadata)}) if metadata else b""


def _checksum(metadata: Mapping[str, str]) -> str:
    return f"{zlib.crc32(_as_json(metadata)):08x}"


def _as_json(metadata: Mapping[str, str]) -> bytes:
    return json.dumps(metadata, ensure_ascii=False).encode()


def _headers(archive: zipfile.ZipFile) -> dict[str, ArrayHeader]:
    headers = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        with archive.open(member) as file:
            header = read_npy_header(file, name)
            if file.tell() + header.nbytes != member.file_size and not header.dtype.hasobject:
                raise ValueError(f"{name} is not as long as its header says")
        headers[name] = header
    return headers


def _check_members(archive: zipfile.ZipFile, file_size: int) -> None:
    """Rejects members that `np.savez` does not write, before unpacking anything."""
    members = archive.infolist()
    check_number(len(members))
    if len({member.filename.removesuffix(".npy") for member in members}) < len(members):
        raise ValueError("two arrays of one name")
    for member in members:
        if member.compress_type not in PACKINGS:
            raise ValueError(f"{member.filename} is packed in another way than deflated")
    unpacked = sum(member.file_size for member in members)
    if unpacked > ALWAYS_UNPACKED + MOST_UNPACKED * file_size:
        raise ValueError(
            f"it would unpack to {unpacked / 2**30:,.1f} GiB, more than {MOST_UNPACKED} times the "
            "file"
        )


def _check_comment(path: Path, comment: bytes) -> None:
    """Rejects an archive that ends within its comment, which Python's zipfile accepts."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - END_RECORD.size - MOST_COMMENT_BYTES, 0))
        end = file.read()
    _, length = END_RECORD.unpack_from(end, end.rindex(END_MAGIC))
    if length > len(comment):
        raise ValueError("it ends within its metadata")


def _metadata(comment: bytes) -> dict[str, str]:
    """Returns the metadata in the comment; empty if another program wrote it.

    Raises:
        ValueError: the checksum does not match.
    """
    # Any byte may be damaged, including the first ones.
    if not comment.startswith(b'{"') and f'"{CHECKSUM}": "'.encode() not in comment:
        return {}
    metadata = parse_json(comment)
    if not isinstance(metadata, dict):
        raise ValueError("its metadata are no JSON object")
    checksum = metadata.pop(CHECKSUM, None)  # Absent in files of earlier versions.
    if checksum not in (None, _checksum(metadata)):
        raise ValueError("its metadata differ from their checksum")
    return metadata


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an npz file as a zip archive and reports damage in one sentence."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.stat().st_size)
            yield archive
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{path}: its arrays do not fit into this machine's memory.") from error
    except DAMAGE as error:
        raise UserError(
            f"{path}: damaged, cut short, or not a file of arrays ({error}); fetch it again."
        ) from error
