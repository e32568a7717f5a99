"""Text experiments that train in seconds: 16 channels, two blocks, words from 300 pieces."""

from ml_collections import ConfigDict

from configs import text_common


def tiny_classification(made_files_dir) -> ConfigDict:
    """Made sentences, positive or negative."""
    config = text_common.classification()
    config.data.name = "synthetic_text"
    config.data.max_length = 16
    config.model.pooling = "mean"
    config.schedule.peak_learning_rate = 1e-2
    return _tiny(config, made_files_dir, "40 steps")


def tiny_masked_lm(made_files_dir) -> ConfigDict:
    """Python's language reference, with a Toeplitz matrix."""
    config = text_common.masked_lm()
    config.data.train_split = "pydoc:validation"  # The smaller part of it.
    config.data.max_length = 24
    config.model.name = "tmlp"
    return _tiny(config, made_files_dir, "4 steps")


def _tiny(config: ConfigDict, made_files_dir, duration: str) -> ConfigDict:
    config.model.hidden_dim = 16
    config.model.num_blocks = 2
    config.model.ffn_dim = 32
    config.tokenizer.vocab_size = 300
    config.data.made_files_dir = str(made_files_dir)
    config.train.duration = duration
    config.train.global_batch_size = 64
    config.schedule.warmup = "2 steps"
    config.evaluation.every = duration
    config.evaluation.global_batch_size = 64
    config.checkpoint.every = duration
    return config
