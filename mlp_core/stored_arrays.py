"""Arrays in weight files: their headers, and the floating types that are read."""

import dataclasses
from pathlib import Path

import ml_dtypes
import numpy as np

from mlp_core.errors import UserError

RAW_BFLOAT16 = np.dtype("V2")  # How numpy stores it.
FLOATS = (np.float32, np.float16, ml_dtypes.bfloat16, RAW_BFLOAT16)


@dataclasses.dataclass(frozen=True)
class ArrayHeader:
    """Shape and type of a stored array."""

    shape: tuple[int, ...]
    dtype: np.dtype


def check_dtype(path: Path, name: str, dtype: np.dtype) -> None:
    """Refuses what is not a float of 16 or 32 bits.

    Raises:
        UserError: names the file, the array and its type.
    """
    if dtype not in FLOATS:
        raise UserError(f"{path}: {name} holds {dtype}, not float32; this is no weight file.")


def as_float32(array: np.ndarray) -> np.ndarray:
    """Widens half precision, also bfloat16 that numpy has stored as raw bytes."""
    if array.dtype == RAW_BFLOAT16:
        array = array.view(ml_dtypes.bfloat16)
    return array.astype(np.float32, copy=False)
