"""Prepares a data set with TFDS's own builder, which needs TensorFlow, in a separate process.

The command `tfds build` of TFDS 4.9.10 also needs Apache Beam; the Python call does not.
"""

import difflib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import tensorflow_datasets as tfds

from mlp_core.errors import MissingError, UserError
from mlp_core.process.console import say
from mlp_core.process.user_paths import user_path

# Files that are available to registered users only.
MANUAL_FILES = {
    "imagenet2012": (
        "https://image-net.org/download-images",
        ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
    )
}
LONGEST = 3 * 86400  # Seconds; ImageNet takes hours.
# Its standard input closes when the parent process ends, even if killed.
CODE = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(1)), daemon=True).start()
import tensorflow_datasets as tfds
if not sys.stderr.isatty():
    tfds.disable_progress_bar()
name, data_dir = sys.argv[1:]
tfds.builder(name, data_dir=data_dir, file_format="array_record").download_and_prepare()
"""


def build(name: str, data_dir: str | None) -> None:
    """Downloads and prepares the TFDS data set `name`, as array_record, in `data_dir`.

    Raises:
        UserError: TFDS has no such data set, or its builder fails.
        MissingError: TensorFlow is not installed, or manual downloads are missing.
    """
    root = user_path(data_dir or tfds.core.constants.DATA_DIR).absolute()
    _check_name(name)
    missing = [*_missing_files(name, root / "downloads" / "manual"), *_missing_tensorflow(name)]
    if missing:
        raise MissingError("\n".join([f"config.data.name: cannot prepare {name}.", *missing]))
    say(f"Prepares {name} in {root}, with TensorFlow")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", CODE, name, root]
    with subprocess.Popen(
        command,
        env=os.environ | quiet,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C would make it print a traceback.
    ) as process:
        try:
            status = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"config.data.name: TFDS has worked on {name} for {LONGEST // 3600} hours; prepare "
                "it by itself."
            ) from None
    if status:
        raise UserError(
            f"config.data.name: TFDS could not prepare {name}; its reason is printed above."
        )


def _check_name(name: str) -> None:
    known = tfds.list_builders(with_community_datasets=False)
    plain = name.split(":")[0].split("/")[0]
    if plain not in known:
        similar = difflib.get_close_matches(plain, known, n=3)
        hint = f" Similar: {', '.join(similar)}." if similar else ""
        raise UserError(f"config.data.name: TFDS has no data set {plain!r}.{hint}")


def _missing_files(name: str, folder: Path) -> list[str]:
    url, files = MANUAL_FILES.get(name.split(":")[0], ("", ()))
    absent = [file for file in files if not (folder / file).is_file()]
    return [f"Fetch from {url} and put into {folder}: {', '.join(absent)}"] if absent else []


def _missing_tensorflow(name: str) -> list[str]:
    if importlib.util.find_spec("tensorflow") is not None:
        return []
    call = f"tfds.builder('{name}', file_format='array_record').download_and_prepare()"
    return [
        "TFDS needs TensorFlow to prepare it. Either install it and run this command again:\n"
        '  pip install -e ".[prepare]"\n'
        "or prepare it where TensorFlow is, and name the folder with --config.data.data_dir:\n"
        f'  python -c "import tensorflow_datasets as tfds; {call}"'
    ]
