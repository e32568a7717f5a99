"""Arrays in weight files: their headers, and the floating types that are read."""

import dataclasses
import math
from pathlib import Path
from typing import IO

import ml_dtypes
import numpy as np
from numpy.lib import format as npy_format

from mlp_core.errors import UserError

RAW_BFLOAT16 = np.dtype("V2")  # How numpy stores it.
FLOATS = (np.float32, np.float16, ml_dtypes.bfloat16, RAW_BFLOAT16)
READ_NPY_HEADER = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}
MOST_AXES = 32
MOST_ELEMENTS = 1 << 40  # Of an array, its empty axes left out of account.
MOST_ARRAYS = 100_000  # In a file.


@dataclasses.dataclass(frozen=True)
class ArrayHeader:
    """Shape and type of a stored array."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def check(self, name: str) -> None:
        """Refuses a shape that no array has.

        Raises:
            ValueError: names the array.
        """
        are_lengths = all(type(length) is int and length >= 0 for length in self.shape)
        if not are_lengths or len(self.shape) > MOST_AXES:
            raise ValueError(f"{name} is of an impossible shape")
        if math.prod(max(length, 1) for length in self.shape) > MOST_ELEMENTS:
            raise ValueError(f"{name} has more than {MOST_ELEMENTS:,} elements")

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes], name: str) -> ArrayHeader:
    """Reads what stands before an array in numpy's npy format; messages call the array `name`.

    Raises:
        ValueError: it is damaged, or no array has such a shape.
    """
    try:
        shape, _, dtype = READ_NPY_HEADER[npy_format.read_magic(file)](file)
    except Exception as error:  # numpy raises nearly anything.
        raise ValueError(f"{name}: {error or type(error).__name__}") from error
    header = ArrayHeader(shape, dtype)
    header.check(name)
    return header


def check_number(num_arrays: int) -> None:
    """Refuses more arrays than any file of weights has.

    Raises:
        ValueError: there are.
    """
    if num_arrays > MOST_ARRAYS:
        raise ValueError(f"{num_arrays:,} arrays, more than {MOST_ARRAYS:,}")


def check_dtype(path: Path, name: str, dtype: np.dtype) -> None:
    """Refuses what is not a float of 16 or 32 bits.

    Raises:
        UserError: names the file, the array and its type.
    """
    if dtype not in FLOATS:
        raise UserError(f"{path}: {name} holds {dtype}, not float32; this is no weight file.")


def check_finite(path: Path, name: str, array: np.ndarray) -> None:
    """Refuses NaN and infinity, which no model has and which would make its answers NaN.

    Raises:
        UserError: names the file, the array and how many of its numbers are not finite.
    """
    # A sum is quick and takes no memory, but may overflow although all numbers are finite.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return
    count = array.size - np.count_nonzero(np.isfinite(array))
    if count:
        raise UserError(
            f"{path}: {name} holds NaN or infinity ({count:,} of its {array.size:,} numbers), as "
            "after a training that diverged; use other weights."
        )


def as_float32(array: np.ndarray) -> np.ndarray:
    """Widens half precision, also bfloat16 that numpy has stored as raw bytes."""
    if array.dtype == RAW_BFLOAT16:
        array = array.view(ml_dtypes.bfloat16)
    return array.astype(np.float32, copy=False)
