"""Weight files in numpy's npz format: flat arrays named `a/b/c`.

Nothing that is read can run code: pickled objects are refused. Nothing takes more memory than the
file gives reason for: arrays are as long as their headers say, and unpack to a hundred times the
file at most. Metadata stand as JSON in the comment of the zip archive, where other readers of the
format do not look; as zip has no checksum of its comment, they hold one of themselves.
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

MOST_COMMENT_BYTES = 65_535  # Of a zip archive.
# What stands in front of the comment and tells its length.
END_RECORD, END_MAGIC = struct.Struct("<4s16xH"), b"PK\5\6"
CHECKSUM = "crc32"  # Of the other metadata.
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Of `np.savez` and `np.savez_compressed`.
MOST_UNPACKED = 100  # Times the file, and
ALWAYS_UNPACKED = 64 << 20  # bytes that a small one may unpack to in any case.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, OSError),
    *(RuntimeError, NotImplementedError),  # An encrypted or an exotically packed member.
)


def read_headers(path: Path) -> tuple[dict[str, ArrayHeader], dict[str, str]]:
    """Names, shapes and types of the arrays, which are not read, and the metadata.

    Raises:
        UserError: this is no whole npz file.
    """
    with _opened(path) as archive:
        _check_comment(path, archive.comment)
        return _headers(archive), _metadata(archive.comment)


def read_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and arrays as float32, each checked against the checksum stored with it.

    Raises:
        UserError: the file is damaged.
    """
    with _opened(path), np.load(path, allow_pickle=False) as loaded:
        for name in loaded.files:
            yield name, as_float32(loaded[name])


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
    """Refuses, before anything is unpacked, what `np.savez` does not write.

    Raises:
        ValueError: names it.
    """
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
    """Refuses an archive that ends within its comment; Python's zipfile does not.

    Raises:
        ValueError: it does.
    """
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - END_RECORD.size - MOST_COMMENT_BYTES, 0))
        end = file.read()
    _, length = END_RECORD.unpack_from(end, end.rindex(END_MAGIC))
    if length > len(comment):
        raise ValueError("it ends within its metadata")


def _metadata(comment: bytes) -> dict[str, str]:
    """What `write` put into the comment; nothing where another program wrote it.

    Raises:
        ValueError: it has changed since.
    """
    # Each byte may be damaged, the first ones, too.
    if not comment.startswith(b'{"') and f'"{CHECKSUM}": "'.encode() not in comment:
        return {}
    metadata = parse_json(comment)
    if not isinstance(metadata, dict):
        raise ValueError("its metadata are no JSON object")
    checksum = metadata.pop(CHECKSUM, None)  # Files of earlier versions have none.
    if checksum not in (None, _checksum(metadata)):
        raise ValueError("its metadata differ from their checksum")
    return metadata


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An npz file opened as a zip archive, with damage told in one sentence."""
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
