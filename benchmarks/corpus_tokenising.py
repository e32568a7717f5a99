"""Megabytes of text a second from a corpus to blocks on disk, beside a bare tokenizer.

`build` is `mlp_text.corpus.build.build_corpus` on JSON lines compressed with gzip: read, unpacked,
parsed, tokenised on all cores, packed into blocks and written. It holds the start of its processes.
`bare` is a loop of `encode_batch_fast` of the library `tokenizers` over the same documents, already
in memory, with its own threads on the same cores; the tokens are thrown away. The two alternate.
`bare_cpu_over_build_cpu` compares the CPU seconds of both, which other work on the machine hardly
changes.

Made text consists of words drawn from a made vocabulary. Name real ones instead:

    python benchmarks/corpus_tokenising.py --corpus='/data/c4/*.json.gz' --vocabulary=vocab.txt
"""

import argparse
import contextlib
import gzip
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from report import print_report, summary

from mlp_text.corpus.blocks import BlockLayout, Shard
from mlp_text.corpus.build import build_corpus
from mlp_text.corpus.sources import open_corpus
from mlp_text.tokens.tokenizer import Tokenizer, open_tokenizer

NUM_TOKENS = 128
BATCH = 256  # Documents of the bare loop.
WORDS = 30_000  # Of the made vocabulary.
DOCUMENT_WORDS = 400


def main() -> None:
    """Measures and prints the report."""
    options = _parse_options()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        vocabulary = options.vocabulary or _make_vocabulary(folder / "vocab.txt")
        tokenizer = open_tokenizer(vocabulary)
        corpus = options.corpus or _make_corpus(folder, vocabulary, options.megabytes)
        shards = open_corpus(corpus)
        texts = [entry.text for shard in shards for entry in shard.entries() if entry.text]
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        build, bare = [], []  # Seconds of wall and of CPU.
        for i in range(options.repetitions):
            build.append(_timed(_build, shards, tokenizer, folder / f"blocks_{i}"))
            bare.append(_timed(_bare_loop, texts, tokenizer))
    pairs = list(zip(build, bare, strict=True))
    figures = {
        "build_megabytes_per_second": summary([megabytes / wall for wall, _ in build]),
        "bare_megabytes_per_second": summary([megabytes / wall for wall, _ in bare]),
        "build_over_bare": summary([other[0] / one[0] for one, other in pairs]),
        "bare_cpu_over_build_cpu": summary([other[1] / one[1] for one, other in pairs]),
    }
    sizes = {
        "corpus": options.corpus or "made",
        "vocab_size": tokenizer.vocab_size,
        "shards": len(shards),
        "documents": len(texts),
        "megabytes": round(megabytes, 1),
        "document_bytes": round(1e6 * megabytes / len(texts)),
        "block_tokens": NUM_TOKENS,
        "repetitions": options.repetitions,
        "tokenizers": tokenizers.__version__,
    }
    print_report("corpus_tokenising", figures, sizes)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers: shows that it runs")
    parser.add_argument("--corpus", help="a corpus, as mlp_text.corpus.sources describes it")
    parser.add_argument("--vocabulary", type=Path, help="a vocab.txt")
    parser.add_argument("--megabytes", type=float, default=60, help="of made text")
    parser.add_argument("--repetitions", type=int, default=7, help="of each of the two")
    options = parser.parse_args()
    if options.quick:
        options.megabytes, options.repetitions = 2, 2
    return options


def _make_vocabulary(path: Path) -> Path:
    """Random words of 1 to 10 letters, and each letter as the beginning and the rest of a word."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = {"".join(rng.choice(letters, size)) for size in rng.integers(1, 11, WORDS)}
    parts = letters + [f"##{letter}" for letter in letters]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    path.write_text("\n".join([*special, *parts, *sorted(words - set(parts))]))
    return path


def _make_corpus(folder: Path, vocabulary: Path, megabytes: float) -> str:
    """JSON lines in eight shards: words of the vocabulary, of which some are frequent."""
    rng = np.random.default_rng(0)
    words = [word for word in vocabulary.read_text().split() if word.isalpha()]
    frequency = 1 / np.arange(1, len(words) + 1)
    for i in range(8):
        left = megabytes * 1e6 / 8
        with gzip.open(folder / f"made-{i}.json.gz", "wt") as file:
            while left > 0:
                drawn = rng.choice(words, DOCUMENT_WORDS, p=frequency / frequency.sum())
                text = " ".join(drawn)
                file.write(json.dumps({"text": text}) + "\n")
                left -= len(text)
    return str(folder / "made-*.json.gz")


def _timed(function: Callable, *args) -> tuple[float, float]:
    """Seconds that a call takes, and seconds of CPU, those of its processes too."""
    started, cpu = time.perf_counter(), _cpu_seconds()
    function(*args)
    return time.perf_counter() - started, _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _build(shards: Sequence[Shard], tokenizer: Tokenizer, folder: Path) -> None:
    layout = BlockLayout.of(tokenizer, NUM_TOKENS, "packed")
    with contextlib.redirect_stdout(sys.stderr):  # Only the report goes to the output.
        build_corpus(shards, tokenizer, layout, folder)


def _bare_loop(texts: Sequence[str], tokenizer: Tokenizer) -> None:
    bare = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    for first in range(0, len(texts), BATCH):
        bare.encode_batch_fast(texts[first : first + BATCH], add_special_tokens=False)


if __name__ == "__main__":
    main()
