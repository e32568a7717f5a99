"""Streaming reader for TSV, CSV and JSON-lines files, with line numbers.

In TSV a quote is an ordinary character, as in GLUE's files; in CSV it encloses a field. The first
line of both names the columns; each JSON line names its own.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from mlp_core.errors import UserError
from mlp_core.process.files import bounded_lines, parse_json

LONGEST_FIELD = 1 << 26  # Characters of CSV; a longer field has an unclosed quote.
LONGEST_LINE = 1 << 26  # Bytes; a longer line is not a row.
MOST_COLUMNS = 1000

Row = tuple[int, dict[str, Any]]  # Number of its last line, from 1, and its values by column.


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a file with a suffix in `SUFFIXES`, skipping empty lines.

    Raises:
        UserError: the file cannot be read, or a line is not a row; names the line.
    """
    try:
        if path.exists() and not path.is_file():  # A pipe may never end.
            raise UserError(f"{path}: cannot be read (not a regular file).")
        with path.open("rb") as file:
            yield from FORMATS[path.suffix.lower()](decoded_lines(file, path), path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error


def decoded_lines(file: IO[bytes], where: Path | str) -> Iterator[str]:
    """Yields the lines of a UTF-8 file, with their endings and without a byte-order mark.

    Errors name the file `where`.

    Raises:
        UserError: a line is not UTF-8 or exceeds 64 MiB.
    """
    for number, line in enumerate(_bounded(file, where), 1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{where}: line {number} is not UTF-8 (byte {error.start} of the line is "
                f"0x{line[error.start]:02x}); save the file as UTF-8."
            ) from error
        yield text.removeprefix("\ufeff") if number == 1 else text


def _bounded(file: IO[bytes], where: Path | str) -> Iterator[bytes]:
    try:
        yield from bounded_lines(file, LONGEST_LINE)
    except ValueError as error:
        raise UserError(f"{where}: {error}; this is no table of texts.") from error


def tab_separated(line: str) -> list[str]:
    """Returns the fields of a TSV line."""
    return line.rstrip("\r\n").split("\t")


def _tsv_rows(lines: Iterable[str], path: Path) -> Iterator[Row]:
    fields = ((n, tab_separated(line)) for n, line in enumerate(lines, 1) if line.strip("\r\n"))
    return _under_header(fields, path)


def _csv_rows(lines: Iterable[str], path: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)  # Process-wide; the default rejects long texts.
    reader = csv.reader(lines, strict=True)
    try:
        yield from _under_header(((reader.line_num, fields) for fields in reader if fields), path)
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is no CSV ({error}).") from error


def _under_header(fields: Iterator[tuple[int, list[str]]], path: Path) -> Iterator[Row]:
    _, header = next(fields, (0, []))
    if len(header) > MOST_COLUMNS:
        raise UserError(
            f"{path}: line 1 names {len(header):,} columns, more than {MOST_COLUMNS:,}."
        )
    for number, values in fields:
        if len(values) != len(header):
            raise UserError(
                f"{path}: line {number} has {len(values)} fields, but the header has "
                f"{len(header)}: {', '.join(header)}."
            )
        yield number, dict(zip(header, values, strict=True))


def _json_rows(lines: Iterable[str], path: Path) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise UserError(f"{path}: line {number} is no JSON ({error}).") from error
        if not isinstance(row, dict):
            raise UserError(f'{path}: line {number} is no object such as {{"text": ...}}.')
        yield number, row


FORMATS: dict[str, Callable[[Iterable[str], Path], Iterator[Row]]] = {
    ".tsv": _tsv_rows,
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
}
SUFFIXES = tuple(FORMATS)
