"""What a corpus is called, in a configuration or a command.

    pydoc:train                                     a split of Python's own language reference
    tfds:lm1b:train                                 a split of a TFDS data set, feature `text`
    tfds:glue/sst2:train:sentence                   the same with another feature
    tfds:/data/glue/sst2/2.0.0:train[:90%]:sentence a directory that TFDS prepared, part of a split
    /data/c4/c4-train.*.json.gz                     files: a pattern, with ** for any depth,
    /data/books                                     a folder, with all that is in it at any depth,
    notes.txt                                       or one

Several are joined by "+". Files are JSON lines (see `text_files.JsonLinesFile`) or plain text
(`PlainTextFile`), compressed with gzip or not, as the endings of their names say.
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mlp_core.errors import MissingError, UserError
from mlp_core.process.user_paths import user_path
from mlp_text.corpus.blocks import Shard
from mlp_text.corpus.pydoc_topics import SPLITS, PydocShard
from mlp_text.corpus.text_files import FIELD, FORMATS, is_text_file, open_text_file

TFDS_FILE = "dataset_info.json"  # In each folder that TFDS has prepared.
TFDS = re.compile(
    r"tfds:(?P<name>[^:]+(:[\d.*]+)?):(?P<split>\w+(\[[^]]*\])?)(:(?P<field>\w+))?"
)  # The name may end with a version, "glue/sst2:2.0.0".


def open_corpus(text: str, data_dir: str | None = None) -> list[Shard]:
    """The shards of a corpus, in an order that does not change.

    Args:
      text: see above.
      data_dir: where TFDS data lie; None for `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        MissingError: it is not on this machine.
        UserError: it cannot be understood, opened, or names a file twice.
    """
    shards = [shard for part in _parts(text) for shard in _open_part(part, data_dir)]
    uses = Counter(shard.name for shard in shards)
    twice = next((name for name in uses if uses[name] > 1), None)
    if twice is not None:
        raise UserError(f"{text}: names {twice} twice.")
    return shards


def tfds_names(text: str) -> list[str]:
    """The TFDS data sets that a corpus is of, by name or directory."""
    parts = (TFDS.fullmatch(part) for part in _parts(text))
    return [part["name"] for part in parts if part]


def _parts(text: str) -> list[str]:
    """What is joined by "+", unless that belongs to the name of a file or folder."""
    if os.path.exists(user_path(text)):  # False for what is too long for a name.
        return [text]
    return [part.strip() for part in text.split("+")]


def _open_part(text: str, data_dir: str | None) -> list[Shard]:
    if text.split(":")[0] == "pydoc":
        return [_open_pydoc(text)]
    if text.startswith("tfds:"):
        return _open_tfds(text, data_dir)
    return [open_text_file(path) for path in _files(text)]


def _open_pydoc(text: str) -> Shard:
    split = text.removeprefix("pydoc:")
    if split not in SPLITS:
        raise UserError(f"{text!r} is no corpus; there are pydoc:train and pydoc:validation.")
    return PydocShard(split)


def _open_tfds(text: str, data_dir: str | None) -> list[Shard]:
    from mlp_text.corpus.tfds_files import open_tfds  # Takes seconds to import.

    parts = TFDS.fullmatch(text)
    if parts is None:
        raise UserError(
            f"{text!r} is no corpus; it is written tfds:NAME:SPLIT or tfds:NAME:SPLIT:FIELD, such "
            "as tfds:glue/sst2:train:sentence."
        )
    shards = open_tfds(parts["name"], parts["split"], parts["field"] or FIELD, data_dir)
    if not shards:
        raise UserError(f"{text}: there is no example in this part of the split; name another.")
    return shards


def _files(text: str) -> list[Path]:
    """The files of a path, folder or pattern, in the order of their names."""
    if not text:
        raise UserError("an empty name is no corpus; name a file, pydoc:SPLIT or tfds:NAME:SPLIT.")
    path = user_path(text)
    if os.path.isfile(path):
        return [path]
    if (path / TFDS_FILE).is_file():
        raise UserError(f"{text}: TFDS has prepared this folder; write tfds:{text}:SPLIT:FIELD.")
    if path.is_dir():
        files = sorted(file for file in _files_below(path) if is_text_file(file))
        if not files:
            raise MissingError(f"{text}: no file in this folder ends in {', '.join(FORMATS)}.")
        return files
    # Existing directories are taken literally; only what follows is a pattern.
    root = next(parent for parent in path.parents if parent.is_dir())
    pattern = str(path.relative_to(root))
    found = (root / match for match in glob.iglob(pattern, root_dir=root, recursive=True))
    files = sorted(filter(Path.is_file, found))
    if not files:
        raise MissingError(
            f"{text}: there is no such corpus: no file is called so, and it is "
            "neither pydoc:SPLIT nor tfds:NAME:SPLIT."
        )
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    """Files at any depth, hidden ones left out; each folder once, whatever links lead to it."""
    met = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in met:
            folders.clear()
            continue
        met.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(place, name) for name in files if not name.startswith("."))
        yield from filter(Path.is_file, paths)
