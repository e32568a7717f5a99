"""Partial downloads, resumed by one process at a time."""

import dataclasses
import json
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, TypeVar

import requests

from mlp_core.process.files import lock_in_turn, open_lock_file, read_json, write_whole

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Version:
    """Version of a file on a server."""

    validator: str = ""  # A strong ETag, or the Last-Modified time; see RFC 9110, 8.8.
    size: int | None = None  # Bytes of the whole file.

    @classmethod
    def of(cls, response: requests.Response, size: int | None) -> "Version":
        """Returns the version in a response for a file of `size` bytes."""
        etag = response.headers.get("ETag", "")
        if etag.startswith('"') and etag.isascii():
            return cls(etag, size)
        changed, answered = (response.headers.get(name, "") for name in ("Last-Modified", "Date"))
        try:
            # A file may change twice within the same second without a new timestamp.
            settled = parsedate_to_datetime(answered) > parsedate_to_datetime(changed)
        except (ValueError, TypeError):
            settled = False
        return cls(changed if settled and not etag else "", size)

    def goes_on_in(self, response: requests.Response, size: int | None) -> bool:
        """Whether a response to a request with `If-Range` is of the same version.

        Some servers ignore `If-Range`, so the response headers are compared.
        """
        if self.size is not None and size is not None and self.size != size:
            return False
        if not self.validator:
            return True
        if self.validator.startswith('"'):
            return response.headers.get("ETag") == self.validator
        return response.headers.get("Last-Modified") == self.validator


class Part:
    """Partial download: an open file, used by this process only, with its version beside it."""

    def __init__(self, path: Path, file: IO[bytes]):
        """`file` is open at `path`."""
        self.path, self.file = path, file
        self._version_file = path.with_name(f"{path.name}.version")

    @property
    def size(self) -> int:
        """Number of bytes downloaded."""
        self.file.flush()
        return os.fstat(self.file.fileno()).st_size

    @property
    def version(self) -> Version:
        """Version of these bytes, if known."""
        try:
            saved = Version(**read_json(self._version_file))
        except (OSError, ValueError, TypeError):
            return Version()
        is_sound = isinstance(saved.validator, str) and saved.validator.isprintable()
        return saved if is_sound and type(saved.size) in (int, type(None)) else Version()

    def start_over(self, version: Version | None = None) -> None:
        """Discards the downloaded bytes; the next ones are of `version`."""
        self._version_file.unlink(missing_ok=True)
        self.file.seek(0)
        self.file.truncate()
        if version and version.validator:
            write_whole(self._version_file, json.dumps(dataclasses.asdict(version)))

    def move_to(self, destination: Path) -> None:
        """Moves the completed part to `destination`."""
        self.file.flush()
        os.replace(self.path, destination)
        self._version_file.unlink(missing_ok=True)

    def is_at_its_path(self) -> bool:
        """Whether the path still refers to the open file, which others may have moved."""
        try:
            return os.path.samestat(os.fstat(self.file.fileno()), self.path.lstat())
        except FileNotFoundError:
            return False


@contextmanager
def locked_part(destination: Path) -> Iterator[Part]:
    """Yields the part of a file to one process at a time; removes it if empty."""
    path = destination.with_name(destination.name + ".part")
    has_locks = True
    while has_locks:
        with open_lock_file(path) as file:
            has_locks = lock_in_turn(file, f"downloads {destination.name}")
            part = Part(path, file)
            # The previous lock holder may have moved or removed the file.
            if has_locks and part.is_at_its_path():
                try:
                    yield part
                finally:
                    if part.is_at_its_path() and part.size == 0:
                        part.start_over()  # Removes the version file as well.
                        path.unlink()
                return
            if not has_locks and part.size == 0:
                path.unlink(missing_ok=True)
    # Without locks each process uses a private part, which others do not resume.
    with tempfile.TemporaryDirectory(prefix=".part-", dir=destination.parent) as private:
        path = Path(private, destination.name)
        with open_lock_file(path) as file:
            yield Part(path, file)


class TimedCalls:
    """Makes calls one at a time in a thread, with a timeout.

    After a timeout the thread ends with the call, or with the process. Leave the call's resources
    alone until then: closing a stream waits for its reader.
    """

    def __init__(self):
        """Starts the thread."""
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._results: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> "TimedCalls":
        """Returns itself."""
        return self

    def __exit__(self, *error) -> None:
        """Ends the thread after its last call."""
        self._calls.put(None)

    def call(self, function: Callable[[], T], seconds: float) -> T:
        """Returns the result of `function`, or raises its error.

        Raises:
            TimeoutError: not finished after `seconds`; make no further calls then.
        """
        self._calls.put((function, self._results))
        try:
            result, error = self._results.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"no result after {seconds:g} seconds") from None
        if error is not None:
            raise error
        return result

    def call_later(self, function: Callable[[], object]) -> None:
        """Calls `function` after the others; ignores its result or error."""
        self._calls.put((function, queue.SimpleQueue()))

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, results = call
            try:
                results.put((function(), None))
            except BaseException as error:
                results.put((None, error))
