"""Files of text, compressed with gzip or not: JSON lines, as C4 has them, and plain text."""

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import IO

from mlp_core.errors import UserError
from mlp_core.process.files import skip_line
from mlp_text.corpus.blocks import Entry, Shard

JSON_SUFFIXES = (".json", ".jsonl")
TEXT_SUFFIXES = (".txt",)
GZIP = ".gz"
FORMATS = [kind + gz for kind in (*JSON_SUFFIXES, *TEXT_SUFFIXES) for gz in ("", GZIP)]
FIELD = "text"  # Of a line of JSON.
LONGEST_LINE = 1 << 26  # Bytes of one line of JSON; more is no document.
DOCUMENT_BYTES = 1 << 20  # After as much, a document of plain text ends.
LOOK_AHEAD = 1 << 20  # Bytes of plain text in which a blank line is looked for.
END_BYTES = 1 << 12  # Of a file's beginning and end, to know it by.
READ_BYTES = 1 << 17
MOST_UNPACKED = 200  # Times the packed bytes; of text, ten times is much. And
ALWAYS_UNPACKED = 1 << 28  # bytes in any case.
BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def is_text_file(path: Path) -> bool:
    """Whether its name has an ending of those that can be read."""
    return path.name.lower().endswith(tuple(FORMATS))


def open_text_file(path: Path) -> Shard:
    """A file as a shard, by the ending of its name.

    Raises:
        UserError: there is no such file, or its format is unknown.
    """
    if not is_text_file(path):
        raise UserError(f"{path}: text is read from {', '.join(FORMATS)}; this is none of them.")
    is_json = path.name.lower().removesuffix(GZIP).endswith(JSON_SUFFIXES)
    return JsonLinesFile(path) if is_json else PlainTextFile(path)


class TextFile:
    """What both formats share: size, identity, and lines of bytes."""

    def __init__(self, path: Path):
        """Looks at the file.

        Raises:
            UserError: it cannot be opened.
        """
        self.path = path
        self.name = str(path)
        with _damage_told(path), path.open("rb"):
            self.num_bytes = path.stat().st_size

    def identity(self) -> str:
        """Its name, size, beginning and end, where gzip has a checksum; else its time, too."""
        with _damage_told(self.path), self.path.open("rb") as file:
            digest = hashlib.sha256(file.read(END_BYTES))
            file.seek(max(0, self.num_bytes - END_BYTES))
            digest.update(file.read(END_BYTES))
            known = [self.path.name, self.num_bytes, digest.hexdigest()]
            if not self._is_packed:
                known.append(self.path.stat().st_mtime_ns)
        return json.dumps(known)

    @contextmanager
    def _opened(self) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """The file to read, unpacked, and the one on disk, which tells the position."""
        with _damage_told(self.path), self.path.open("rb", buffering=0) as raw:
            content = _Unpacked(fileobj=raw) if self._is_packed else raw
            file = io.BufferedReader(content, READ_BYTES)
            start = file.peek(len(BYTE_ORDER_MARK))
            if start.startswith(UTF16_MARKS):  # Most of its lines would pass for UTF-8.
                raise UserError(f"{self.path}: this is UTF-16; save it as UTF-8.")
            if start.startswith(BYTE_ORDER_MARK):
                file.read(len(BYTE_ORDER_MARK))
            yield file, raw

    @property
    def _is_packed(self) -> bool:
        return self.path.name.lower().endswith(GZIP)


class _Unpacked(gzip.GzipFile):
    """What is unpacked from gzip, as long as it may be text."""

    def read(self, size: int = -1) -> bytes:
        """See `gzip.GzipFile`.

        Raises:
            gzip.BadGzipFile: so much of so little is no text.
        """
        content = super().read(size)
        if self.tell() > ALWAYS_UNPACKED + MOST_UNPACKED * self.fileobj.tell():
            raise gzip.BadGzipFile(f"unpacks to more than {MOST_UNPACKED} times its size")
        return content


class JsonLinesFile(TextFile):
    """A JSON object a line; its field `text` is a document."""

    def entries(self) -> Iterator[Entry]:
        """See `Shard`; blank lines are none."""
        with self._opened() as (file, raw):
            for number in count(1):
                line = file.readline(LONGEST_LINE)
                if not line:
                    return
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    skip_line(file)
                    yield Entry(number, "", f"longer than {LONGEST_LINE >> 20} MiB", raw.tell())
                elif not line.isspace():
                    text, fault = _json_text(line)
                    yield Entry(number, text, fault, raw.tell())


class PlainTextFile(TextFile):
    """Documents with blank lines between them.

    Where the first MiB has no blank line, each line is a document. A document of more than a MiB
    is taken as several.
    """

    def entries(self) -> Iterator[Entry]:
        """See `Shard`; a line that is not UTF-8 is left out of its document."""
        with self._opened() as (file, raw):
            head = file.read(LOOK_AHEAD)
            line_by_line = not BLANK_LINE.search(head.strip())
            chunks = chain([head], iter(lambda: file.read(READ_BYTES), b""))
            document, size, first = [], 0, 1
            for number, line in _lines(chunks):
                try:
                    text = line.decode()
                except UnicodeDecodeError:
                    yield Entry(number, "", "not UTF-8", raw.tell())
                    continue
                if not document:
                    first, size = number, 0
                if not text.isspace():
                    document.append(text)
                    size += len(line)
                ends = line_by_line or text.isspace() or size >= DOCUMENT_BYTES
                if ends and document:
                    yield Entry(first, "".join(document), "", raw.tell())
                    document = []
            if document:
                yield Entry(first, "".join(document), "", raw.tell())


def _json_text(line: bytes) -> tuple[str, str]:
    """The document of a line, or what is wrong with it."""
    try:
        fields = json.loads(line.decode())
    except UnicodeDecodeError:
        return "", "not UTF-8"
    except (ValueError, RecursionError):
        return "", "no JSON"
    text = fields.get(FIELD) if isinstance(fields, dict) else None
    if not isinstance(text, str):
        return "", f"without a field {FIELD!r} of text"
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can spell halves of characters.
        return "", "half a character"
    return text, ""


def _lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines; one of more than a MiB in parts, cut after a space if there is any."""
    number, rest = 1, b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield number, line + b"\n"
            number += 1
        if len(rest) >= DOCUMENT_BYTES:
            cut = rest.rfind(b" ") + 1 or _last_character(rest)
            yield number, rest[:cut]
            rest = rest[cut:]
    if rest:
        yield number, rest


def _last_character(text: bytes) -> int:
    """Where the last character of UTF-8 begins, which may be cut short."""
    return next((i for i in range(len(text) - 1, 0, -1) if text[i] & 0xC0 != 0x80), len(text))


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Tells in one sentence why a file cannot be read."""
    try:
        yield
    except EOFError:
        raise UserError(f"{path}: cut short; fetch it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged ({error}); fetch it again.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error
