"""Weight files in the safetensors format, via the safetensors library."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from mlp_core.errors import UserError
from mlp_core.weights.arrays import ArrayHeader, as_float32, check_number

BUFFERS = ("position_ids",)  # Integers that PyTorch modules store beside their weights.
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}


def read_headers(path: Path) -> tuple[dict[str, ArrayHeader], dict[str, str]]:
    """Reads names, shapes and types of the arrays, and the metadata.

    Raises:
        UserError: this is not a complete safetensors file, or an array is not floating-point.
    """
    headers = {}
    with _opened(path) as file:
        for name in _weight_names(file):
            stored = file.get_slice(name)
            if stored.get_dtype() not in DTYPES:
                raise UserError(
                    f"{path}: {name} holds {stored.get_dtype()}, not float32; this is no weight "
                    "file."
                )
            dtype = np.dtype(DTYPES[stored.get_dtype()])
            headers[name] = ArrayHeader(tuple(stored.get_shape()), dtype)
            headers[name].check(name)
        return headers, file.metadata() or {}


def read_arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields names and float32 arrays; the format has no checksums.

    Raises:
        UserError: the file is truncated.
    """
    with _opened(path) as file:
        for name in _weight_names(file):
            yield name, as_float32(file.get_tensor(name))


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes named float32 arrays, with metadata and torch's format tag."""
    contiguous = {name: np.ascontiguousarray(rows, np.float32) for name, rows in arrays.items()}
    safetensors.numpy.save_file(contiguous, path, metadata={"format": "pt", **metadata})


def _weight_names(file: safetensors.safe_open) -> list[str]:
    names = list(file.keys())
    check_number(len(names))
    return [name for name in names if name.split(".")[-1] not in BUFFERS]


@contextmanager
def _opened(path: Path) -> Iterator[safetensors.safe_open]:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            yield file
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{path}: its arrays do not fit into this machine's memory.") from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged, or cut short ({error}); fetch it again.") from error
