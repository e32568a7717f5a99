"""Trains a small gMLP on SST-2 from random weights, on a laptop; behind a colon, tmlp or amlp.

Recipe: configs/small_text.py.

    python launch/main.py --config=configs/sst2_small.py
    python launch/main.py --config=configs/sst2_small.py:tmlp
"""

from configs import small_text, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be gmlp, tmlp or amlp, "smoke", or both with a comma between."""
    family, rest = small_text.split_arg(arg)
    return text_common.variant(small_text.sst2(family), rest)
