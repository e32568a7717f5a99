"""Data sets in TFDS format: found on disk, or prepared by one of this project's builders.

Builders are passed by data set name; each is called with `data_dir` and `file_format`.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import tensorflow_datasets as tfds
from tensorflow_datasets.core import naming, read_only_builder
from tensorflow_datasets.core.utils import error_utils

from mlp_core.data.tfds.convert import find_converted
from mlp_core.data.tfds.directory import INFO_FILE, open_directory
from mlp_core.errors import MissingError, UserError
from mlp_core.process.console import say
from mlp_core.process.files import full_disk_told, one_at_a_time
from mlp_core.process.user_paths import check_utf8, user_path

Builders = Mapping[str, Callable[..., tfds.core.DatasetBuilder]]


@dataclasses.dataclass(frozen=True)
class LabelledDataset:
    """A data set prepared by TFDS, with a class label for each example."""

    name: str
    builder: tfds.core.DatasetBuilder

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.builder.info.splits)

    @property
    def num_classes(self) -> int:
        """Number of distinct labels."""
        return self.builder.info.features["label"].num_classes

    @property
    def class_names(self) -> list[str]:
        """Names of the labels, in order; numbers if the data set has no names."""
        return list(self.builder.info.features["label"].names)

    def num_examples(self, split: str) -> int:
        """Returns the number of examples in a split such as "train[:98%]"."""
        return self.builder.info.splits[split].num_examples


def is_own_folder(name: str, own_builders: Builders) -> bool:
    """Whether `name` is a directory of user data, not a data set name or a TFDS directory.

    Raises:
        UserError: it is a file or a missing absolute path, or contains TFDS directories.
    """
    path = _as_path(name)
    if name in own_builders or _is_tfds_directory(path):
        return False
    if not path.is_dir():
        if path.is_file():
            raise UserError(f"config.data.name: {path} is a file; name a folder of such.")
        if path.is_absolute():
            raise UserError(f"config.data.name: there is no folder {path}.")
        return False
    for below in sorted(path.iterdir()):
        if _is_tfds_directory(below):
            raise UserError(
                f"config.data.name: TFDS has prepared {below} in {path}; name that, or set "
                f"--config.data.data_dir={path.parent} --config.data.name={path.name}."
            )
    return True


def _as_path(name: str) -> Path:
    return user_path(name, "config.data.name=")


def _is_tfds_directory(path: Path) -> bool:
    return (path / INFO_FILE).exists()


def _is_tfds_name(name: str) -> bool:
    """Whether `name` is a valid TFDS name; a path, for example, is not."""
    try:
        naming.parse_builder_name_kwargs(name)
    except ValueError:
        return False
    return True


def _with_version(name: str, data_dir: str) -> str:
    """Appends the newest version to `name` if its directory contains only versions.

    Without a version, TFDS imports all its builders to find the default configuration of `name`.
    """
    folder = Path(data_dir, name)
    versions = tfds.core.utils.version.list_all_versions(folder) if folder.is_dir() else []
    only_versions = sum(path.is_dir() for path in folder.glob("[!.]*")) == len(versions)
    return f"{name}:{versions[-1]}" if versions and only_versions else name


def find_prepared(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    """Returns a data set that TFDS prepared on this machine, or None.

    Args:
      name: a TFDS name, or the path of a directory that TFDS prepared.
      data_dir: directory of TFDS data; None for `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        UserError: it is damaged.
    """
    with damage_told(f"data set {name!r}"):
        if _is_tfds_directory(path := _as_path(name)):
            folder = path
        elif not _is_tfds_name(name):
            return None
        else:
            # The first part of `builder_from_files`, which would read the directory unchecked.
            with error_utils.reraise_with_context(tfds.core.DatasetNotFoundError):
                versioned = _with_version(name, data_dir or tfds.core.constants.DATA_DIR)
                folder = read_only_builder._find_builder_dir(versioned, data_dir=data_dir)
            if folder is None:
                return None
        builder = open_directory(Path(folder))
        for file in (file for split in builder.info.splits.values() for file in split.filepaths):
            if not file.exists():
                raise UserError(f"{file} is missing; prepare {name} again.")
    return builder


def open_prepared(
    name: str, data_dir: str | None, own_builders: Builders
) -> tfds.core.DatasetBuilder:
    """Opens a prepared data set, preferably a converted copy; prepares it if needed.

    Raises:
        UserError: it is missing and cannot be prepared, or is damaged.
    """
    data_dir = data_dir and str(user_path(data_dir, "config.data.data_dir="))
    return _find_best(name, data_dir) or _prepare(name, data_dir, own_builders)


def _find_best(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder | None:
    prepared = find_prepared(name, data_dir)
    if prepared is None:
        return None
    with damage_told(f"data set {name!r}"):
        return find_converted(prepared) or prepared


def _prepare(name: str, data_dir: str | None, own_builders: Builders) -> tfds.core.DatasetBuilder:
    if name not in own_builders:
        raise MissingError(
            f"config.data.name: the data set {name!r} is not prepared on this machine, no folder "
            f"is called so, and there is no builder for it here ({', '.join(sorted(own_builders))} "
            "have one).\n"
            "If TFDS has it, prepare it once with TensorFlow, and with the flags of this run:\n"
            '  pip install -e ".[prepare]" && python launch/prepare.py --config=...'
        )
    if data_dir is None:  # TFDS would create a directory "~" if there is no home directory.
        data_dir = str(user_path(tfds.core.constants.DATA_DIR, "config.data.data_dir is not set; "))
    builder = own_builders[name](data_dir=data_dir, file_format="array_record")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    version = Path(builder.data_path)
    check_utf8(version)
    root = version.parents[len(Path(name).parts)]
    try:
        with one_at_a_time(root / f".{name.replace('/', '_')}.lock", work=f"prepares {name}"):
            prepared = _find_best(name, data_dir)  # Another process may have prepared it.
            if prepared is not None:
                return prepared
            say(f"Prepares {name} in {version}")
            with full_disk_told(version):
                builder.download_and_prepare()
    except OSError as error:
        prepared = _find_best(name, data_dir)
        if prepared is not None:  # Another process was faster, on a file system without locks.
            return prepared
        raise UserError(
            f"{version}: cannot be written ({error.strerror or error}); name another "
            "folder with --config.data.data_dir."
        ) from error
    return builder


@contextmanager
def damage_told(what: str) -> Iterator[None]:
    """Converts exceptions of TFDS, protobuf and array_record for damaged files to `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # The three have no common base class.
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{what} cannot be read ({reason}).") from error
