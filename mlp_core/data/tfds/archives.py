"""Builders that read the published archives of a data set without unpacking them to disk.

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

NOT_OURS = (RuntimeError, NotImplementedError)  # For encrypted files and unsupported compression.

MOST_MEMBER_BYTES = 1 << 30  # Of a file in an archive; the largest that is read here has 154 MB.


class ArchiveBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class of builders from published archives; manages the archives' paths."""

    archives: dict[str, RemoteFile]

    def archive_path(self, key: str) -> Path:
        """Returns the path of an archive, where it is looked up before it is downloaded."""
        file_name = self.archives[key].url.rsplit("/", 1)[-1]
        return Path(self._data_dir_root) / "downloads" / file_name

    def fetch_archives(self) -> dict[str, Path]:
        """Returns the verified archives by key; downloads them if needed.

        Raises:
            DownloadError: some cannot be fetched or differ from the published ones; lists all.
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
    """Yields name and content of every regular file in a tar archive, compressed or not, in order.

    Skips links and devices. Writes nothing to disk, so that malicious names are harmless.

    Raises:
        UserError: the archive is damaged, or a file in it is larger than 1 GiB.
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
    """Yields name and content of the files `names` in a tar archive, in the archive's order.

    Makes one pass with one file in memory at a time: each lookup by name in a compressed archive
    would unpack it from the start.

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
    """Opens the file `name` in a zip archive as a stream; verifies its checksum at its end.

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
