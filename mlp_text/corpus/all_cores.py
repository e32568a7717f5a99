"""Shards tokenised by all cores: in processes of their own, or in this one where there is little.

A process for each core scales where threads would wait for Python's lock, which reading and lists
of tokens need; on two cores both cost about the same (benchmarks/corpus_tokenising.py).
"""

import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from mlp_core.data.workers import SPAWN, available_cores, ctrl_c_waits, end_pool
from mlp_core.errors import UserError
from mlp_core.process.subprocess import end_with_parent
from mlp_text.corpus.blocks import BlockLayout, Shard
from mlp_text.corpus.shard_blocks import ShardFiles, tokenise_shard
from mlp_text.tokens.tokenizer import Tokenizer

WORTH_A_PROCESS = 1 << 24  # Bytes of shards on disk; starting one costs seconds.
LOOK_SECONDS = 0.2  # Between two looks at how far the processes are.

Work = Sequence[tuple[Shard, ShardFiles]]
Show = Callable[[np.ndarray], None]  # Shown int64 [shards, 3]; see `shard_blocks.TellProgress`.


class StoppedError(Exception):
    """The caller wants no more."""


def tokenise_shards(
    work: Work, tokenizer: Tokenizer, layout: BlockLayout, num_workers: int | None, show: Show
) -> None:
    """Calls `tokenise_shard` for each shard and its files, showing progress. For the main thread.

    Args:
      work: the shards.
      tokenizer: makes tokens of text.
      layout: of the blocks.
      num_workers: processes at most; None for one for each core.
      show: called now and then.

    Raises:
        UserError: one cannot be tokenised, or a process was ended; shards that are done stay.
    """
    cores = available_cores()
    enough = sum(shard.num_bytes for shard, _ in work) // WORTH_A_PROCESS
    num_workers = min(num_workers or cores, len(work), enough)
    if num_workers <= 1:
        _tokenise_here(work, tokenizer, layout, cores, show)
    else:
        _tokenise_in_processes(work, tokenizer, layout, num_workers, show)


def _tokenise_here(
    work: Work, tokenizer: Tokenizer, layout: BlockLayout, cores: int, show: Show
) -> None:
    progress = np.zeros((len(work), 3), np.int64)
    for i, (shard, files) in enumerate(work):

        def tell(*figures: int, row: int = i) -> None:
            progress[row] = figures
            show(progress)

        tokenise_shard(shard, tokenizer, layout, files, cores, tell)


def _tokenise_in_processes(
    work: Work, tokenizer: Tokenizer, layout: BlockLayout, num_workers: int, show: Show
) -> None:
    memory = SPAWN.RawArray("q", 3 * len(work))
    progress = np.frombuffer(memory, np.int64).reshape(-1, 3)
    stop = SPAWN.RawValue("b", False)
    num_threads = math.ceil(available_cores() / num_workers)
    pool = ProcessPoolExecutor(
        num_workers, SPAWN, _set_up, (tokenizer.to_json(), layout, num_threads, memory, stop)
    )
    others = set(multiprocessing.active_children())
    workers: set[multiprocessing.Process] = set()
    # The largest first, so that no core is left waiting for it at the end.
    order = sorted(range(len(work)), key=lambda i: -work[i][0].num_bytes)
    try:
        with ctrl_c_waits():  # Processes are started here.
            waiting = {pool.submit(_tokenise, i, *work[i]) for i in order}
            workers = set(multiprocessing.active_children()) - others
        while waiting:
            done, waiting = wait(waiting, LOOK_SECONDS, FIRST_COMPLETED)
            for shard in done:
                shard.result()
            show(progress)
    except BrokenProcessPool:
        raise UserError(
            "A process that tokenises was ended (memory may have run out); the same command goes "
            "on from the shards that are done."
        ) from None
    finally:
        stop.value = True
        end_pool(pool, workers)


def _set_up(tokenizer: str, layout: BlockLayout, num_threads: int, memory, stop) -> None:
    """Runs first in a process. The variables are read when the tokenizer is first used."""
    global _tokenizer, _layout, _num_threads, _progress, _stop
    end_with_parent()
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if num_threads > 1 else "false"
    os.environ["RAYON_NUM_THREADS"] = str(num_threads)
    _tokenizer, _layout, _num_threads = Tokenizer.from_json(tokenizer), layout, num_threads
    _progress = np.frombuffer(memory, np.int64).reshape(-1, 3)
    _stop = stop


def _tokenise(index: int, shard: Shard, files: ShardFiles) -> None:
    """Makes one shard, in a process."""

    def tell(*figures: int) -> None:
        _progress[index] = figures
        if _stop.value:
            raise StoppedError

    tokenise_shard(shard, _tokenizer, _layout, files, _num_threads, tell)
