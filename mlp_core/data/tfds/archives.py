"""Builders that read the archives of a data set as they are published, unpacking nothing to disk.

TFDS's own builders need TensorFlow to unpack an archive; these need only the standard library.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import tensorflow_datasets as tfds

from mlp_core.errors import UserError
from mlp_core.weights.downloads import DownloadError, RemoteFile, check_content, fetch

NOT_OURS = (RuntimeError, NotImplementedError)  # An encrypted or an exotically packed file.

MOST_MEMBER_BYTES = 1 << 30  # Of a file in an archive; the longest that is read here has 154 MB.


class ArchiveBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What builders from published archives have in common: where the archives are kept."""

    archives: dict[str, RemoteFile]

    def archive_path(self, key: str) -> Path:
        """Where an archive is kept, and looked for before it is downloaded."""
        file_name = self.archives[key].url.rsplit("/", 1)[-1]
        return Path(self._data_dir_root) / "downloads" / file_name

    def fetch_archives(self) -> dict[str, Path]:
        """The checked archives by key, downloaded where need be.

        Raises:
            DownloadError: some cannot be had, or are not the published ones; names them all.
        """
        problems = []
        for key, file in self.archives.items():
            path = self.archive_path(key)
            try:
                check_content(file, fetch(file, path))
            except DownloadError as error:
                problems.append(f"{error}\nIt is published at {file.url}\nPut the file at {path}")
        if problems:
            problems.append(
                "Or name with --config.data.data_dir a TFDS folder that holds "
                f"{self.info.full_name}."
            )
            raise DownloadError("\n".join(problems))
        return {key: self.archive_path(key) for key in self.archives}


def read_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file in a tar archive, in its order, compressed or not.

    Links and devices are passed over, and nothing is written, so that names lead nowhere.

    Raises:
        UserError: the archive is damaged, or a file in it longer than 1 GiB.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and member.size > MOST_MEMBER_BYTES:
                    raise UserError(
                        f"{archive}: {member.name!r:.100} has {member.size:,} bytes, more than any "
                        "file of a data set here; delete the archive, so that it is fetched again."
                    )
                if member.isfile():
                    yield member.name.removeprefix("./"), tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise UserError(
            f"{archive}: this archive is damaged ({error}); delete it, so that it is fetched again."
        ) from error


def read_members(archive: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files `names` in a tar archive, in the archive's order.

    One pass, one file in memory at a time: looking a name up in a compressed archive would
    unpack it from the start.

    Raises:
        UserError: the archive is damaged, or lacks one of them.
    """
    wanted = set(names)
    for name, content in read_files(archive):
        if name in wanted:
            wanted.remove(name)
            yield name, content
            if not wanted:
                return
    raise UserError(
        f"{archive}: there is no {min(wanted)} in this archive, and {len(wanted) - 1} other files "
        "are missing; delete it, so that it is fetched again."
    )


@contextmanager
def open_zipped(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """The file `name` in a zip archive, unpacked as it is read, its checksum checked at its end.

    Raises:
        UserError: the archive is damaged, or lacks the file.
    """
    try:
        with zipfile.ZipFile(archive) as files:
            if name not in files.namelist():
                raise UserError(
                    f"{archive}: there is no {name} in this archive; delete it, so that it is "
                    "fetched again."
                )
            with files.open(name) as file:
                yield file
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error, *NOT_OURS) as error:
        raise UserError(
            f"{archive}: this archive is damaged ({error}); delete it, so that it is fetched again."
        ) from error
