"""Trains a small gMLP as a masked language model on the language reference that Python carries.

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
    config.tokenizer.vocab_size = 2000

    config.optimizer.weight_decay = 0.01
    config.optimizer.weight_decay_pattern = ".*/(kernel|embedding)"
    config.schedule.name = "linear"
    config.schedule.peak_learning_rate = 3e-3
    config.schedule.warmup = "50 steps"

    config.train.duration = "600 steps"
    config.train.global_batch_size = 64
    config.evaluation.every = "100 steps"
    config.checkpoint.every = "300 steps"
    return text_common.variant(config, arg)
