"""A corpus tokenised once, on all cores, into a folder of blocks.

A folder holds `corpus.json` (what it was made from, and sizes), `token_counts.npy` (int64 [V]) and
a file of blocks for each shard that has any. A shard that is done stays done: an interrupted build
goes on where it stopped.
"""

import dataclasses
import hashlib
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mlp_core.errors import UserError
from mlp_core.process.console import say
from mlp_core.process.files import one_at_a_time, read_json, whole_output, write_whole
from mlp_text.corpus.all_cores import tokenise_shards
from mlp_text.corpus.block_source import CORPUS_FILE, COUNTS_FILE, BlockSource, read_counts
from mlp_text.corpus.blocks import BlockLayout, Shard
from mlp_text.corpus.shard_blocks import PART, ShardFiles, ShardReport
from mlp_text.tokens.tokenizer import Tokenizer

SETTINGS = {"layout": "layout of blocks", "tokenizer": "tokenizer", "shards": "text"}
STEM_LENGTH = 40  # Characters of a file's name in a folder's.
MOST_LINES = 20  # About shards with faults.
LINE_SECONDS = 60  # Between two lines of progress where there is no terminal.


def corpus_name(shards: Sequence[Shard], tokenizer: Tokenizer, layout: BlockLayout) -> str:
    """A folder's name that another text, tokenizer or layout does not have."""
    settings = json.dumps(_settings(shards, tokenizer, layout))
    stem = re.sub(r"\W+", "-", Path(shards[0].name).name.split(".")[0]).strip("-")[:STEM_LENGTH]
    digest = hashlib.sha256(settings.encode()).hexdigest()[:16]
    return f"{stem}-{layout.num_tokens}-{layout.packing}-{digest}"


def build_corpus(
    shards: Sequence[Shard],
    tokenizer: Tokenizer,
    layout: BlockLayout,
    folder: Path,
    num_workers: int | None = None,
) -> BlockSource:
    """Tokenises a corpus into `folder` unless that has been done; returns its blocks.

    A process takes a shard at a time. Where there are fewer shards than cores, each process has
    several threads; a small corpus is tokenised in this process. For the main thread.

    Args:
      shards: see `sources.open_corpus`.
      tokenizer: makes tokens of text.
      layout: how these become blocks.
      folder: made if need be; see `corpus_name`.
      num_workers: processes at most; None for a core each.

    Raises:
        UserError: a shard cannot be read to its end or has too many faults, there is no text, or
            `folder` holds another corpus or cannot be written. What was finished stays.
    """
    settings = _settings(shards, tokenizer, layout)
    try:
        if not _is_complete(folder, settings):
            lock = folder.with_name(f".{folder.name}.lock")
            with one_at_a_time(lock, f"tokenises into {folder}"):
                if not _is_complete(folder, settings):  # Another process may have been at it.
                    _build(shards, tokenizer, layout, folder, num_workers, settings)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror or error}); name another place with "
            "--config.data.made_files_dir."
        ) from error
    return BlockSource(folder)


def _settings(shards: Sequence[Shard], tokenizer: Tokenizer, layout: BlockLayout) -> dict:
    """All that the blocks depend on."""
    return {
        "layout": dataclasses.asdict(layout),
        "tokenizer": hashlib.sha256(tokenizer.to_json().encode()).hexdigest(),
        "shards": [shard.identity() for shard in shards],
    }


def _is_complete(folder: Path, settings: dict) -> bool:
    """Whether the whole corpus is there.

    Raises:
        UserError: another one is, or a part of another one.
    """
    try:
        there = read_json(folder / CORPUS_FILE)
        of_there = there["settings"]
        other = [name for key, name in SETTINGS.items() if of_there[key] != settings[key]]
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{folder / CORPUS_FILE}: damaged; remove the folder.") from None
    if other:
        raise UserError(
            f"{folder}: holds blocks made with another {' and another '.join(other)}; remove it "
            "or name another folder."
        )
    return "totals" in there


def _build(
    shards: Sequence[Shard],
    tokenizer: Tokenizer,
    layout: BlockLayout,
    folder: Path,
    num_workers: int | None,
    settings: dict,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob(f".*{PART}"):  # Of a process that was killed.
        left_over.unlink(missing_ok=True)
    _write_json(folder / CORPUS_FILE, {"settings": settings})
    files = [ShardFiles.of(folder, i, len(shards)) for i in range(len(shards))]
    todo = [i for i in range(len(shards)) if not files[i].report.exists()]
    if todo:
        say(f"Tokenises {len(todo):,} of {len(shards):,} shards into {folder}")
        work = [(shards[i], files[i]) for i in todo]
        with Progress(sum(shard.num_bytes for shard, _ in work)) as progress:
            tokenise_shards(work, tokenizer, layout, num_workers, progress.show)
    reports = [file.read_report() for file in files]
    _tell_faults(reports)
    if not sum(report.blocks for report in reports):
        raise UserError(f"{shards[0].name}: there is no text in this corpus.")
    counts = sum(read_counts(file.counts, layout.vocab_size) for file in files)
    with whole_output(folder / COUNTS_FILE) as part:
        np.save(part, counts)
    fields = [field.name for field in dataclasses.fields(ShardReport) if field.type is int]
    totals = {name: sum(getattr(report, name) for report in reports) for name in fields}
    contents = [dataclasses.asdict(report) for report in reports]
    _write_json(
        folder / CORPUS_FILE, {"settings": settings, "totals": totals, "contents": contents}
    )
    for file in files:
        file.report.unlink()
        file.counts.unlink()


def _write_json(path: Path, content: dict) -> None:
    write_whole(path, json.dumps(content, indent=1))


def _tell_faults(reports: Sequence[ShardReport]) -> None:
    faulty = [report for report in reports if report.faults]
    for report in faulty[:MOST_LINES]:
        say(
            f"{report.name}: {report.faults:,} entries are no documents and left out, the first "
            f"is number {report.first_fault}"
        )
    if len(faulty) > MOST_LINES:
        others = sum(report.faults for report in faulty[MOST_LINES:])
        say(f"{len(faulty) - MOST_LINES:,} more shards have {others:,} such entries")


class Progress:
    """How far a build is: a bar on a terminal, elsewhere a line a minute; and a line at the end."""

    def __init__(self, num_bytes: int):
        """Starts at nothing of the `num_bytes` on disk."""
        self._started = self._last_line = time.perf_counter()
        self._documents = self._text_bytes = 0
        self._bar = tqdm(
            total=num_bytes, unit="B", unit_scale=True, desc="tokenising",
            disable=not sys.stderr.isatty(), leave=False,
        )  # fmt: skip

    def __enter__(self) -> "Progress":
        """Goes on drawing until its end."""
        return self

    def __exit__(self, *error) -> None:
        """Takes the bar away, and says what has been done."""
        self._bar.close()
        say(f"Tokenised {self._so_far()}")

    def show(self, progress: np.ndarray) -> None:
        """Draws it; `progress` is int64 [shards, 3], see `shard_blocks.TellProgress`."""
        position, self._documents, self._text_bytes = progress.sum(0).tolist()
        if not self._bar.disable:
            self._bar.set_postfix_str(self._so_far(), refresh=False)
            self._bar.update(position - self._bar.n)
        elif time.perf_counter() - self._last_line > LINE_SECONDS:
            self._last_line = time.perf_counter()
            say(f"{position / self._bar.total:.0%}: {self._so_far()}")

    def _so_far(self) -> str:
        megabytes = self._text_bytes / 1e6
        speed = megabytes / (time.perf_counter() - self._started)
        return f"{self._documents:,} documents, {megabytes:,.1f} MB of text, {speed:,.1f} MB/s"
