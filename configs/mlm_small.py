"""Trains a small gMLP, tMLP or aMLP as a masked language model, on a laptop.

python launch/main.py --config=configs/mlm_small.py:tmlp
"""

from configs import small_text, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be gmlp, tmlp or amlp, "smoke", or both with a comma between."""
    family, rest = small_text.split_arg(arg)
    return text_common.variant(small_text.mlm(family), rest)
