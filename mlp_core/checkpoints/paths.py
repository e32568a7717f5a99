"""Checkpoints in directories whose paths Orbax and TensorStore do not take literally.

Orbax 0.12 passes unescaped paths to `glob` and rewrites `gs:/`; TensorStore treats a backslash as a
slash. A checkpoint saved to such a path looks complete, but lacks the index of its arrays and
cannot be read. Orbax therefore gets the path that Linux provides for an open directory, and
checkpoints without an index are repaired.
"""

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.run_folder.checkpoint_folder import DamagedError

# Wildcards, backslashes, what Orbax parses as a URL, and bytes that are not UTF-8.
SPECIAL = re.compile("[*?\\[\\]\\\\\ud800-\udfff]|gs:/|^/(gs|s3|az|hf)/")
OPEN_DIRECTORIES = Path("/proc/self/fd")

# File names used by Orbax.
STATE, UNFINISHED = "state", ".orbax-checkpoint-tmp"
INDEX, PART = "manifest.ocdbt", "ocdbt.process_*"  # One part per host.


@contextmanager
def literal_path(directory: Path) -> Iterator[Path]:
    """Yields a path to `directory` that Orbax takes literally, valid inside the `with` block.

    Raises:
        UserError: this system has no such path.
    """
    if not SPECIAL.search(str(directory)):
        yield directory
        return
    if not OPEN_DIRECTORIES.is_dir():
        raise UserError(
            f"{directory}: on this system, checkpoints cannot be in a directory whose path has "
            "any of the characters * ? [ ] and backslash, is not UTF-8, or looks like gs:/; name "
            "another one."
        )
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield OPEN_DIRECTORIES / str(descriptor)
    finally:
        os.close(descriptor)


def repair(path: Path) -> None:
    """Adds the index of its arrays to the checkpoint in `path` if it is missing.

    Existing files are not changed or deleted. The arrays still have to be checked, as the index may
    be missing for another reason.

    Raises:
        DamagedError: the index is missing and cannot be written.
    """
    state = path / STATE
    if not state.is_dir() or (state / INDEX).exists():
        return
    try:
        # TensorStore wrote the arrays here if the path has a backslash.
        elsewhere = Path(str(path).replace("\\", "/") + UNFINISHED) / (STATE + UNFINISHED)
        if "\\" in str(path) and elsewhere.is_dir():
            shutil.copytree(elsewhere, state, dirs_exist_ok=True)
        if not any(state.glob(PART)):
            return
        with literal_path(path.parent) as parent:
            _merge_index(parent / path.name / STATE)
    except Exception as error:  # TensorStore raises many types.
        raise DamagedError(
            path, f"the index of its arrays is missing and cannot be written: {error}"
        ) from error
    say(f"Note: {path}: this checkpoint lacked the index of its arrays; it has been added")


def _merge_index(state: Path) -> None:
    """Merges the index as Orbax does at the end of a save."""
    # Imported here because these are Orbax internals that only a repair needs.
    from etils import epath
    from orbax.checkpoint._src.serialization import ocdbt_utils, tensorstore_utils

    context = tensorstore_utils.get_ts_context(use_ocdbt=True)
    asyncio.run(
        ocdbt_utils.merge_ocdbt_per_process_files(
            epath.Path(state), context, use_zarr3=True, enable_validation=False
        )
    )
