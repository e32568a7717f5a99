"""The paper's masked-LM training on C4; no experiment by itself.

Source: Pay Attention to MLPs (arXiv:2105.08050), section 4 and appendix A.2, table 8. The short run
(128 tokens, the ablations and the models by depth) reads a part of C4 like RealNews, the full one
(512 tokens, base and larger) the English C4. The paper's vocabulary, 32 thousand cased tokens of
SentencePiece, is not published; one of this kind is made of the training text. Perplexities can be
compared where vocabularies are the same.

C4 comes as JSON lines, from the data set allenai/c4 of the Hugging Face hub: put its files into
`c4/realnewslike` and `c4/en`, or name another place with --config.data.train_split.
"""

from ml_collections import ConfigDict

from configs import text_common

SHORT, FULL = ("l18", "l36", "l72", "l144"), ("base", "large", "xlarge")


def c4(family: str, arg: str, sizes: tuple[str, ...]) -> ConfigDict:
    """The run of a size, the text behind a config's colon: "", "base", "smoke", "base,smoke".

    With `sizes[0]` if none is named.
    """
    words = arg.split(",") if arg else []
    size = words.pop(0) if words and words[0] in sizes else sizes[0]
    if words not in ([], ["smoke"]):
        raise ValueError(
            f"there is no variant {words[0]!r}; choose a size from {', '.join(sizes)}, "
            "and ',smoke' for a short trial"
        )
    config = text_common.masked_lm()
    config.model.name = f"{family}_{size}"
    config.model.spatial_matrix = "toeplitz"  # As all of the paper's text models have it.
    config.tokenizer.kind = "unigram"
    config.tokenizer.lowercase = False
    config.tokenizer.vocab_size = 32_000

    config.optimizer.epsilon = 1e-6
    config.optimizer.weight_decay = 0.01
    config.optimizer.weight_decay_pattern = ".*/(kernel|embedding)"
    config.optimizer.clip_global_norm = 0.0
    config.schedule.name = "linear"
    config.schedule.warmup = "10000 steps"
    (_short if size in SHORT else _full)(config)
    config.evaluation.every = "5000 steps"
    config.evaluation.global_batch_size = 256  # Micro-batches are for training only.
    config.checkpoint.every = "5000 steps"
    config.log.every = "100 steps"
    return text_common.variant(config, ",".join(words))


def _short(config: ConfigDict) -> None:
    """33 billion tokens."""
    config.data.train_split = "c4/realnewslike/c4-train.*.json.gz"
    config.data.eval_splits = ConfigDict({"validation": "c4/realnewslike/c4-validation.*.json.gz"})
    config.train.duration = "125000 steps"
    config.train.global_batch_size = 2048
    config.schedule.peak_learning_rate = 7e-4


def _full(config: ConfigDict) -> None:
    """131 billion tokens."""
    config.data.train_split = "c4/en/c4-train.*.json.gz"
    config.data.eval_splits = ConfigDict({"validation": "c4/en/c4-validation.*.json.gz"})
    config.train.duration = "1000000 steps"
    config.train.global_batch_size = 256
    config.schedule.peak_learning_rate = 1e-4
