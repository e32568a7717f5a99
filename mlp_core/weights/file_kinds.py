"""Detects the kind of a weight file by its structure.

Neither the name nor the first bytes are enough: a safetensors file begins with the length of its
header, which may equal the first bytes of any other format.
"""

import dataclasses
import os
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import IO

from mlp_core.weights.npz import DAMAGE


@dataclasses.dataclass(frozen=True)
class FileKind:
    """A kind of file, in words that follow "this is", and advice for its user."""

    description: str
    advice: str


CONVERT = "convert it to npz or safetensors as docs/weights.md shows"
NPZ = FileKind("an npz file", "")
SAFETENSORS = FileKind("a safetensors file", "")
PICKLE = FileKind(
    "a pickle of PyTorch's, which could run any code when it is read",
    f"take the safetensors file of the same weights, or {CONVERT}",
)
ONNX = FileKind("an ONNX model", CONVERT)
MSGPACK = FileKind("a msgpack file, as Flax writes them", CONVERT)
WEB_PAGE = FileKind("a web page (an error of the server's?), not weights", "fetch the file again")
INDEX = FileKind(
    "JSON text, not weights",
    "if it is the index of weights in several files, merge them as docs/weights.md shows",
)
EMPTY = FileKind("an empty file, neither an npz nor a safetensors file", "fetch it again")
UNKNOWN = FileKind("neither an npz nor a safetensors file", "name one of these")
COMPRESSED = "unpack it, and name the weight file inside"

START_BYTES = 1 << 16
LENGTH = struct.Struct("<Q")  # Length of a safetensors header.
MOST_HEADER_BYTES = 100_000_000  # The limit of the safetensors library.
ZIP_MAGIC = b"PK"  # Shared by intact and damaged archives.
NPY_MAGIC = b"\x93NUMPY"
BY_MAGIC = {
    b"\x89HDF\r\n\x1a\n": FileKind("an HDF5 file, as Keras writes them", CONVERT),
    b"\x1f\x8b": FileKind("a gzip file", COMPRESSED),
    b"BZh": FileKind("a bzip2 file", COMPRESSED),
    b"\xfd7zXZ\0": FileKind("an xz file", COMPRESSED),
    b"\x28\xb5\x2f\xfd": FileKind("a zstd file", COMPRESSED),
    b"7z\xbc\xaf\x27\x1c": FileKind("a 7z archive", COMPRESSED),
    b"GGUF": FileKind("a GGUF file", "take the safetensors file of the same weights"),
    NPY_MAGIC: FileKind("a single numpy array (npy)", "save all arrays together with np.savez"),
    b"version https://git-lfs.github.com/": FileKind(
        "a pointer of Git LFS, not the weights themselves", "run git lfs pull, and try again"
    ),
}
TAR_MAGIC, TAR_OFFSET = b"ustar", 257
TAR = FileKind("a tar archive", COMPRESSED)
# Protocols from 2 on; collections and objects in protocols 0 and 1, which are mostly text.
PICKLE_STARTS = (b"\x80", b"(", b"c", b"}", b"]", b")")
FEWEST_OPCODES = 8  # For a pickle that is longer than the bytes inspected.
ONNX_FIELDS = {1: 0, 5: 0} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), 2)  # Wire types.
IR_VERSION, GRAPH = 1, 7
MOST_FIELDS = 10_000
MOST_NAMES = 3


def kind_of(path: Path) -> FileKind:
    """Returns the kind of the file at `path`, damaged or not.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(START_BYTES)
        if not start:
            return EMPTY
        is_onnx = _is_onnx(file, path.stat().st_size)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if _header_length(start) <= MOST_HEADER_BYTES:
        return SAFETENSORS
    if start.startswith(ZIP_MAGIC):
        return _kind_of_zip(path)
    for magic, kind in BY_MAGIC.items():
        if start.startswith(magic):
            return kind
    if start[TAR_OFFSET:].startswith(TAR_MAGIC):
        return TAR
    if _is_pickle(start):
        return PICKLE
    if text.startswith(b"<"):
        return WEB_PAGE
    if text.startswith((b"{", b"[")):
        return INDEX
    if is_onnx:
        return ONNX
    if _is_msgpack(start):
        return MSGPACK
    # The file may still be safetensors with a damaged length.
    return SAFETENSORS if start[LENGTH.size : LENGTH.size + 1] == b"{" else UNKNOWN


def _header_length(start: bytes) -> float:
    """Returns the length of a safetensors file's JSON header; infinity without one."""
    if start[LENGTH.size : LENGTH.size + 1] != b"{":
        return float("inf")
    return LENGTH.unpack_from(start)[0]


def _kind_of_zip(path: Path) -> FileKind:
    """Returns the kind of a zip file; a damaged one counts as npz, the only kind that is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.rsplit("/", 1)[-1] == "data.pkl" for name in names):
                return PICKLE
            if not names or any(name.endswith(".npy") for name in names):
                return NPZ
            with archive.open(names[0]) as file:
                if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
                    return NPZ
    except DAMAGE:
        return NPZ
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    inside = ", ".join(f"{name!r:.100}" for name in names[:MOST_NAMES]) + more
    return FileKind(f"a zip archive of {inside}, not a file of arrays", COMPRESSED)


def _is_pickle(start: bytes) -> bool:
    """Whether the bytes are pickle opcodes of any protocol; none is executed."""
    if not start.startswith(PICKLE_STARTS):
        return False
    count = 0
    try:
        for _ in pickletools.genops(start):
            count += 1
    except Exception:  # Malformed arguments of opcodes raise many kinds of errors.
        return count >= FEWEST_OPCODES
    return True


def _is_msgpack(start: bytes) -> bool:
    """Whether the bytes begin a map whose first key is text."""
    key = start[{0xDE: 3, 0xDF: 5}.get(start[0], 1) :][:1]
    is_map = 0x81 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF)
    return is_map and (b"\xa1" <= key <= b"\xbf" or key == b"\xd9")


def _is_onnx(file: IO[bytes], size: int) -> bool:
    """Whether the top-level protobuf fields of a file are those of an ONNX model."""
    found: set[int] = set()
    file.seek(0)
    for _ in range(MOST_FIELDS):
        if file.tell() >= size:
            break
        key, value = _varint(file), _varint(file)
        if ONNX_FIELDS.get(key >> 3) != key & 7:
            return False
        found.add(key >> 3)
        if key & 7:  # The value is the length of the field.
            file.seek(min(value, size), os.SEEK_CUR)
    return {IR_VERSION, GRAPH} <= found


def _varint(file: IO[bytes]) -> int:
    value = 0
    for i, byte in enumerate(file.read(1) for _ in range(10)):
        value |= (ord(byte or b"\0") & 0x7F) << 7 * i
        if byte < b"\x80":
            break
    return value
