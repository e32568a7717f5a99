"""Trains a small gMLP as a masked language model on the language reference that Python carries.

Source: ours, a first run on text that needs no download; `pydoc_data.topics`, 0.4 MB, a tenth of
its topics held out. The vocabulary, 2,000 pieces of words, is made of the training text.
Expected: perplexity 44.4 with Python 3.11, whose text differs a little from that of others; the
unigram model, which the end names beside it, has 276.
Cost: 80 seconds on two CPU cores.

    python launch/main.py --config=configs/gmlp_mlm_python.py
"""

from configs import text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = text_common.masked_lm()
    config.model.name = "gmlp"
    config.model.hidden_dim = 128
    config.model.num_blocks = 2
    config.model.ffn_dim = 512
    config.data.max_length = 64
    config.tokenizer.vocab_size = 2_000

    config.optimizer.weight_decay = 0.01
    config.optimizer.weight_decay_pattern = ".*/(kernel|embedding)"
    config.schedule.name = "linear"
    config.schedule.peak_learning_rate = 3e-3
    config.schedule.warmup = "50 steps"

    config.train.duration = "600 steps"  # 21 epochs.
    config.train.global_batch_size = 64
    config.evaluation.every = "100 steps"
    config.checkpoint.every = "300 steps"
    return text_common.variant(config, arg)
