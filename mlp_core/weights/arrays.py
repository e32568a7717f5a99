"""Array headers in weight files, and the supported floating types."""

import dataclasses
import math
from pathlib import Path
from typing import IO

import ml_dtypes
import numpy as np
from numpy.lib import format as npy_format

from mlp_core.errors import UserError

RAW_BFLOAT16 = np.dtype("V2")  # How numpy stores bfloat16.
FLOATS = (np.float32, np.float16, ml_dtypes.bfloat16, RAW_BFLOAT16)
READ_NPY_HEADER = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}
MOST_AXES = 32
MOST_ELEMENTS = 1 << 40  # Per array, ignoring empty axes.
MOST_ARRAYS = 100_000  # Per file.


@dataclasses.dataclass(frozen=True)
class ArrayHeader:
    """Shape and type of a stored array."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def check(self, name: str) -> None:
        """Checks that the shape is valid; raises ValueError otherwise."""
        are_lengths = all(type(length) is int and length >= 0 for length in self.shape)
        if not are_lengths or len(self.shape) > MOST_AXES:
            raise ValueError(f"{name} is of an impossible shape")
        if math.prod(max(length, 1) for length in self.shape) > MOST_ELEMENTS:
            raise ValueError(f"{name} has more than {MOST_ELEMENTS:,} elements")

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes], name: str) -> ArrayHeader:
    """Reads the npy header of an array; `name` names the array in messages.

    Raises:
        ValueError: the header is damaged or the shape is invalid.
    """
    try:
        shape, _, dtype = READ_NPY_HEADER[npy_format.read_magic(file)](file)
    except Exception as error:  # numpy raises almost any error.
        raise ValueError(f"{name}: {error or type(error).__name__}") from error
    header = ArrayHeader(shape, dtype)
    header.check(name)
    return header


def check_number(num_arrays: int) -> None:
    """Checks the number of arrays in a file; raises ValueError if it exceeds the limit."""
    if num_arrays > MOST_ARRAYS:
        raise ValueError(f"{num_arrays:,} arrays, more than {MOST_ARRAYS:,}")


def check_dtype(path: Path, name: str, dtype: np.dtype) -> None:
    """Checks that the type is a float of 16 or 32 bits."""
    if dtype not in FLOATS:
        raise UserError(f"{path}: {name} holds {dtype}, not float32; this is no weight file.")


def check_finite(path: Path, name: str, array: np.ndarray) -> None:
    """Rejects NaN and infinity, which would make the model's outputs NaN.

    Raises:
        UserError: names the file, the array and its number of non-finite values.
    """
    # A sum is fast and allocates nothing, but may overflow even if all values are finite.
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
    """Converts half precision to float32, including bfloat16 stored by numpy as raw bytes."""
    if array.dtype == RAW_BFLOAT16:
        array = array.view(ml_dtypes.bfloat16)
    return array.astype(np.float32, copy=False)
