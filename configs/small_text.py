"""gMLP, tMLP and aMLP on SST-2 and as masked language models, small enough for two CPU cores.

Sizes and recipes are ours, chosen on the dev set, so that its accuracy is a little flattered; no
experiment by itself. Without position embeddings, pads masked, means over the tokens.
"""

from ml_collections import ConfigDict

from configs import text_common

FAMILIES = ("gmlp", "tmlp", "amlp")


def split_arg(arg: str) -> tuple[str, str]:
    """The family that the text behind a config's colon begins with, gmlp if none, and the rest."""
    words = arg.split(",") if arg else []
    family = words.pop(0) if words and words[0] in FAMILIES else FAMILIES[0]
    return family, ",".join(words)


def sst2(family: str) -> ConfigDict:
    """SST-2 from random weights."""
    config = text_common.classification()
    _add_model(config, family)
    config.data.name = "glue/sst2"
    config.model.dropout_rate = 0.4
    config.model.head_dropout_rate = 0.4
    config.schedule.peak_learning_rate = 1e-3
    config.schedule.warmup = "0.2 epochs"
    config.train.duration = "1.5 epochs"
    config.train.global_batch_size = 64
    config.train.ema_decay = 0.997
    config.evaluation.every = "0.25 epochs"
    config.checkpoint.every = "0.5 epochs"
    config.sweep.grid = ("seed=0,1,2",)
    return config


def mlm(family: str) -> ConfigDict:
    """Masked-LM training of the same model, on SST-2's own sentences unless told otherwise."""
    config = text_common.masked_lm()
    _add_model(config, family)
    config.data.train_split = "tfds:glue/sst2:train:sentence"
    config.data.eval_splits = ConfigDict({"validation": "tfds:glue/sst2:validation:sentence"})
    config.schedule.peak_learning_rate = 2e-3
    config.schedule.warmup = "200 steps"
    config.train.duration = "2000 steps"
    config.train.global_batch_size = 64
    config.evaluation.every = "500 steps"
    config.checkpoint.every = "500 steps"
    return config


def _add_model(config: ConfigDict, family: str) -> None:
    """Two blocks of 128 channels on 48 tokens: 1.3 million parameters, most of them words."""
    config.model.name = family
    config.model.hidden_dim = 128
    config.model.num_blocks = 2
    config.model.ffn_dim = 512
    config.model.mask_pads = True
    config.model.pooling = "mean"
    config.data.max_length = 48
    config.tokenizer.vocab_size = 8192

    config.optimizer.weight_decay = 0.01
    config.optimizer.weight_decay_pattern = ".*/(kernel|embedding)"
    config.schedule.name = "linear"
