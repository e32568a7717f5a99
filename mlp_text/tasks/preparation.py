"""Prepares the inputs of a run in advance: data sets, weights, vocabulary, token blocks."""

import dataclasses
from pathlib import Path

from ml_collections import ConfigDict

from mlp_core.config import parse_config
from mlp_core.data.preparation import (
    THERE,
    check_directory,
    data_dir_flags,
    data_dir_of,
    place_of,
    prepare_dataset,
    prepare_weights,
    say_flags,
    size_in_words,
)
from mlp_core.data.tfds.prepared import is_own_folder
from mlp_core.errors import MissingError, UserError, noted
from mlp_core.process.console import say
from mlp_core.weights.sources import CONFIG_FILE
from mlp_text.corpus.block_source import BlockSource
from mlp_text.corpus.sources import tfds_names
from mlp_text.data.synthetic import SYNTHETIC
from mlp_text.data.text_dataset import OWN_BUILDERS
from mlp_text.tasks.config import TextConfig
from mlp_text.tasks.corpus_data import CorpusData
from mlp_text.tasks.experiment import (
    Data,
    check_before_fetching,
    fetch,
    known_tokenizer,
    source_of_weights,
)
from mlp_text.tasks.made_vocabulary import made_files_dir, made_vocabulary, vocabulary_file
from mlp_text.tasks.model_from_config import wanted_encoder
from mlp_text.tokens.tokenizer import FILES, Tokenizer, open_tokenizer
from mlp_text.tokens.wordpiece import CASING_FILE
from mlp_text.weights.loading import (
    TextWeights,
    locate_text_weights,
    open_text_weights,
)


def prepare(config: ConfigDict, directory: Path | None = None) -> list[str]:
    """Downloads and builds the inputs of an experiment, and prints what already exists.

    Args:
      config: the experiment.
      directory: a directory shared by all hosts of a pod. Named data sets go to `directory`/tfds,
        downloaded weights to `directory`/weights, vocabularies and token blocks to
        `directory`/vocabularies and `directory`/corpora; inputs configured by path stay in place.
        None: the default locations on this machine.

    Returns:
        The flags with which a run finds the inputs; empty without `directory`.

    Raises:
        MissingError: inputs are unavailable; lists all of them.
        UserError: the configuration, the data or the weights are invalid.
    """
    settings = parse_config(TextConfig, config)
    source = source_of_weights(settings)
    known = check_before_fetching(settings, source, None)
    if directory is not None:
        directory = directory.absolute()
        folders = ("data_dir", "made_files_dir")
        check_directory(directory, **{name: getattr(settings.data, name) for name in folders})
        settings = _in_directory(settings, directory)
    flags, missing = [], []
    with noted(missing):
        flags += _prepare_datasets(settings, directory)
    place = place_of(directory / "weights", source) if directory and source else None
    with noted(missing):
        if source:
            beside = [CONFIG_FILE, CASING_FILE, *FILES]
            prepare_weights(source, lambda: (known or _weights_at(source)).path, place, beside)
    if missing:
        raise MissingError("\n".join(missing))
    if place:
        flags.append(f"--config.{'init' if settings.init.weights else 'bert'}.weights={place}")
    data, weights = fetch(settings, str(place) if place else source, known)
    made = _make_files(settings, data, weights)
    if made and directory:
        flags.append(f"--config.data.made_files_dir={directory}")
    say_flags(flags)
    return flags


def _in_directory(settings: TextConfig, directory: Path) -> TextConfig:
    folders = dict(data_dir=data_dir_of(None, directory), made_files_dir=str(directory))
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **folders))


def _weights_at(source: str) -> TextWeights:
    return open_text_weights(locate_text_weights(source))


def _prepare_datasets(settings: TextConfig, directory: Path | None) -> list[str]:
    """Prepares the TFDS data sets; returns the flags with which a run finds them."""
    data = settings.data
    data_dir = data_dir_of(data.data_dir, directory)
    names = _corpora_of_tfds(settings) if settings.task == "masked_lm" else [data.name]
    folders = []
    for name in names:
        if name in SYNTHETIC:
            say(f"Data set {name}: made when it is read")
        elif is_own_folder(name, OWN_BUILDERS):
            say(f"Data set {name}: {THERE}, a folder of tables")
        else:
            folders.append(prepare_dataset(name, data_dir, OWN_BUILDERS))
    return data_dir_flags(directory, folders)


def _corpora_of_tfds(settings: TextConfig) -> list[str]:
    """Returns the TFDS data sets of the corpora without duplicates."""
    return list(dict.fromkeys(name for text in _corpora(settings) for name in tfds_names(text)))


def _corpora(settings: TextConfig) -> list[str]:
    """Returns the corpora of the splits without duplicates."""
    return list(dict.fromkeys([settings.data.train_split, *settings.data.eval_splits.values()]))


def _make_files(settings: TextConfig, data: Data, weights: TextWeights | None) -> bool:
    """Builds missing vocabulary and token blocks; returns whether a run needs any."""
    known = known_tokenizer(settings, weights)
    if known:
        origin = settings.tokenizer.path or "that of the weights"
        say(f"Vocabulary: {THERE}, {known.vocab_size:,} tokens, {origin}")
    tokenizer = known or _make_vocabulary(settings, data)
    if isinstance(data, CorpusData):
        start = weights.spec.encoder if weights else None
        max_length = wanted_encoder(settings, start, tokenizer.vocab_size).max_length
        for corpus in _corpora(settings):
            _make_blocks(data, corpus, tokenizer, max_length)
    return known is None or isinstance(data, CorpusData)


def _make_vocabulary(settings: TextConfig, data: Data) -> Tokenizer:
    folder = made_files_dir(settings.data.made_files_dir)
    done = THERE if vocabulary_file(settings.tokenizer, folder, data).is_file() else "made"
    file = made_vocabulary(settings.tokenizer, folder, data)
    tokenizer = open_tokenizer(file)
    say(
        f"Vocabulary: {done}, {tokenizer.vocab_size:,} tokens, {size_in_words(file)}\n"
        f"  Other runs take it with --config.tokenizer.path={file}"
    )
    return tokenizer


def _make_blocks(data: CorpusData, corpus: str, tokenizer: Tokenizer, max_length: int) -> None:
    folder = data.folder(corpus, tokenizer, max_length)
    done = THERE if _is_whole(folder) else "tokenised"
    blocks = data.source(corpus, tokenizer, max_length)
    say(
        f"Corpus {corpus}: {done}, {len(blocks):,} blocks of {max_length} tokens, "
        f"{size_in_words(folder)}"
    )


def _is_whole(folder: Path) -> bool:
    try:
        BlockSource(folder)
    except UserError:
        return False
    return True
