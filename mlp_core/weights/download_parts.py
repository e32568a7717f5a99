"""Parts of files that interrupted downloads leave, for one process at a time to resume."""

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
    """Which state of a file a server has."""

    validator: str = ""  # A strong ETag, or the time of the last change; see RFC 9110, 8.8.
    size: int | None = None  # Bytes of the whole file.

    @classmethod
    def of(cls, response: requests.Response, size: int | None) -> "Version":
        """The state that a response with a file of `size` bytes is of."""
        etag = response.headers.get("ETag", "")
        if etag.startswith('"') and etag.isascii():
            return cls(etag, size)
        changed, answered = (response.headers.get(name, "") for name in ("Last-Modified", "Date"))
        try:
            # In the second of its last change a file may change again without another time.
            settled = parsedate_to_datetime(answered) > parsedate_to_datetime(changed)
        except (ValueError, TypeError):
            settled = False
        return cls(changed if settled and not etag else "", size)

    def goes_on_in(self, response: requests.Response, size: int | None) -> bool:
        """Whether a response to a request with `If-Range` is a part of the same state.

        Some servers disregard `If-Range`, so its own words are compared.
        """
        if self.size is not None and size is not None and self.size != size:
            return False
        if not self.validator:
            return True
        if self.validator.startswith('"'):
            return response.headers.get("ETag") == self.validator
        return response.headers.get("Last-Modified") == self.validator


class Part:
    """What has arrived of a file: open, used by this process only, with its version beside it."""

    def __init__(self, path: Path, file: IO[bytes]):
        """`file` is open at `path`."""
        self.path, self.file = path, file
        self._version_file = path.with_name(f"{path.name}.version")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        self.file.flush()
        return os.fstat(self.file.fileno()).st_size

    @property
    def version(self) -> Version:
        """Of which state they are, as far as is known."""
        try:
            saved = Version(**read_json(self._version_file))
        except (OSError, ValueError, TypeError):
            return Version()
        is_sound = isinstance(saved.validator, str) and saved.validator.isprintable()
        return saved if is_sound and type(saved.size) in (int, type(None)) else Version()

    def start_over(self, version: Version | None = None) -> None:
        """Drops what has arrived; what comes next is of `version`."""
        self._version_file.unlink(missing_ok=True)
        self.file.seek(0)
        self.file.truncate()
        if version and version.validator:
            write_whole(self._version_file, json.dumps(dataclasses.asdict(version)))

    def move_to(self, destination: Path) -> None:
        """Makes the part, which is whole, the file."""
        self.file.flush()
        os.replace(self.path, destination)
        self._version_file.unlink(missing_ok=True)

    def is_at_its_path(self) -> bool:
        """Whether the path still leads to the open file, which others may have moved."""
        try:
            return os.path.samestat(os.fstat(self.file.fileno()), self.path.lstat())
        except FileNotFoundError:
            return False


@contextmanager
def locked_part(destination: Path) -> Iterator[Part]:
    """The part of a file, for one process at a time; an empty one is not left behind."""
    path = destination.with_name(destination.name + ".part")
    has_locks = True
    while has_locks:
        with open_lock_file(path) as file:
            has_locks = lock_in_turn(file, f"downloads {destination.name}")
            part = Part(path, file)
            # Who held the lock before may have moved or removed the file that was waited for.
            if has_locks and part.is_at_its_path():
                try:
                    yield part
                finally:
                    if part.is_at_its_path() and part.size == 0:
                        part.start_over()  # Removes what is kept beside it, too.
                        path.unlink()
                return
            if not has_locks and part.size == 0:
                path.unlink(missing_ok=True)
    # Without locks each process has a part of its own, which is not resumed by others.
    with tempfile.TemporaryDirectory(prefix=".part-", dir=destination.parent) as private:
        path = Path(private, destination.name)
        with open_lock_file(path) as file:
            yield Part(path, file)


class TimedCalls:
    """Makes calls one after the other in a thread, and gives up on one that takes too long.

    The thread of such a call ends with it, or with the process. What the call holds must be left
    alone until then: closing a stream waits for whoever reads it.
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
        """Ends the thread when its last call has ended."""
        self._calls.put(None)

    def call(self, function: Callable[[], T], seconds: float) -> T:
        """The result of `function`, or what it raises.

        Raises:
            TimeoutError: it has not ended after `seconds`; make no further calls then.
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
        """Has `function` called after the others; what it returns or raises is dropped."""
        self._calls.put((function, queue.SimpleQueue()))

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            function, results = call
            try:
                results.put((function(), None))
            except BaseException as error:
                results.put((None, error))
