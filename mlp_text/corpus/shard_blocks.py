"""One shard of a corpus made into one file of blocks: the work that is shared out."""

import dataclasses
import json
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from mlp_core.errors import UserError
from mlp_text.corpus.blocks import BLOCK_MAKERS, BlockLayout, Shard
from mlp_text.tokens.tokenizer import Tokenizer

ONE_BY_ONE = "group_size:1"  # Each block is found and unpacked by itself.
BATCH_CHARACTERS = 1 << 18  # Tokenised at a time by each thread; enough documents to share out.
LONGEST_TEXT = 1 << 20  # Characters; a longer document is taken as several.
FEW_FAULTS = 5
FEW_FAULTS_SHARE = 0.01  # Of a shard's entries; whichever is more.
PART = ".part"

# Told from time to time: bytes of the shard read, documents and bytes of text tokenised.
TellProgress = Callable[[int, int, int], None]


@dataclasses.dataclass
class ShardReport:
    """What has been found in a shard."""

    name: str
    blocks: int = 0
    documents: int = 0  # With text; one that is taken as several counts as often.
    empty_documents: int = 0  # Left out.
    text_bytes: int = 0
    tokens: int = 0  # Of text.
    faults: int = 0
    first_fault: str = ""


@dataclasses.dataclass(frozen=True)
class ShardFiles:
    """Where the blocks of a shard lie, and what is kept beside them until all shards are done."""

    blocks: Path
    counts: Path  # int64 [V]
    report: Path  # Written last: where it is, the shard is done.

    @classmethod
    def of(cls, folder: Path, index: int, num_shards: int) -> "ShardFiles":
        """Of shard `index`, from 0."""
        stem = f"blocks-{index:05d}-of-{num_shards:05d}"
        return cls(*(folder / f"{stem}.{kind}" for kind in ("array_record", "npy", "json")))

    def read_report(self) -> ShardReport:
        """Of a shard that is done."""
        return ShardReport(**json.loads(self.report.read_text()))


def tokenise_shard(
    shard: Shard,
    tokenizer: Tokenizer,
    layout: BlockLayout,
    files: ShardFiles,
    num_threads: int,
    tell: TellProgress,
) -> None:
    """Writes the blocks of a shard, which appear only when whole; a batch is in memory at a time.

    Args:
      shard: the text.
      tokenizer: makes tokens of it, with `num_threads` threads of its own.
      layout: of the blocks.
      files: what to write.
      num_threads: for the size of a batch.
      tell: told of progress; what it raises stops the work.

    Raises:
        UserError: the shard cannot be read to its end, all of its entries or more than 5 and more
            than 1 % are no documents, or there is no room for the blocks.
    """
    report, blocks = ShardReport(shard.name), BLOCK_MAKERS[layout.packing](layout)
    counts = np.zeros(layout.vocab_size, np.int64)
    with _part_of(files.blocks) as part:
        writer = ArrayRecordWriter(str(part), ONE_BY_ONE)
        try:

            def write(rows: np.ndarray) -> None:
                for row in rows:
                    writer.write(row.tobytes())
                counts[:] += layout.count_tokens(rows)
                report.blocks += len(rows)

            for ids in _token_lists(shard, tokenizer, num_threads, report, tell):
                write(blocks.add(ids))
            write(blocks.finish())
        finally:
            writer.close()
    report.tokens = int(counts.sum())
    with _part_of(files.counts) as part, part.open("wb") as file:
        np.save(file, counts)
    with _part_of(files.report) as part:
        part.write_text(json.dumps(dataclasses.asdict(report)))


def _token_lists(
    shard: Shard, tokenizer: Tokenizer, num_threads: int, report: ShardReport, tell: TellProgress
) -> Iterator[list[list[int]]]:
    """The tokens of documents that have any, a batch at a time; the next is read meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        running = None
        for texts, position in _batches(shard, num_threads * BATCH_CHARACTERS, report):
            following = pool.submit(tokenizer.ids, texts)
            if running:
                yield _not_empty(running.result(), report)
            running = following
            tell(position, report.documents, report.text_bytes)
        if running:
            yield _not_empty(running.result(), report)
    tell(shard.num_bytes, report.documents, report.text_bytes)


def _batches(shard: Shard, size: int, report: ShardReport) -> Iterator[tuple[list[str], int]]:
    """Documents with about `size` characters in all, and how much of the shard has been read."""
    texts, characters, entries, position = [], 0, 0, 0
    for number, text, fault, position in shard.entries():
        entries += 1
        report.text_bytes += len(text.encode())
        if fault:
            report.faults += 1
            report.first_fault = report.first_fault or f"{number:,} ({fault})"
        elif not text or text.isspace():
            report.empty_documents += 1
        else:
            texts += _pieces(text)
            characters += len(text)
        if characters >= size:
            yield texts, position
            texts, characters = [], 0
    if texts:
        yield texts, position
    few = max(FEW_FAULTS, FEW_FAULTS_SHARE * entries)
    if report.faults and (report.faults > few or report.faults == entries):
        raise UserError(
            f"{shard.name}: {report.faults:,} of {entries:,} entries are no documents, the first "
            f"is number {report.first_fault}; at most {FEW_FAULTS} or 1 % are let pass. Mend or "
            "remove it."
        )


def _pieces(text: str) -> list[str]:
    """A text in parts that can be tokenised in bounded memory, cut after a space if possible."""
    pieces = []
    while len(text) > LONGEST_TEXT:
        cut = text.rfind(" ", 0, LONGEST_TEXT) + 1 or LONGEST_TEXT
        pieces.append(text[:cut])
        text = text[cut:]
    return [*pieces, text]


def _not_empty(documents: list[list[int]], report: ShardReport) -> list[list[int]]:
    """Leaves out documents without a token, such as some of control characters only."""
    kept = [ids for ids in documents if ids]
    report.documents += len(kept)
    report.empty_documents += len(documents) - len(kept)
    return kept


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A file to write, moved to `path` once all has gone well; no other process has this one."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PART}")
    try:
        yield part
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # array_record raises the latter.
        reason = str(error).split(";")[0]  # Behind it array_record repeats the path.
        raise UserError(
            f"{path}: cannot be written ({reason}); make room, or name another place with "
            "--config.data.made_files_dir. Shards that are done stay."
        ) from error
    finally:
        part.unlink(missing_ok=True)
