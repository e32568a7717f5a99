"""Trains a small gMLP, tMLP or aMLP on SST-2 from random weights, on a laptop.

Recipe: configs/small_text.py; the family is named behind the colon. To start from a masked-LM run
of configs/mlm_small.py: --config.init.weights=RUN.
Expected: gmlp 81.0 % of the dev set, the median of seeds 0 to 2 (81.0 to 81.2); after masked-LM
training 81.8 % (80.9 to 82.0).
Cost: six minutes of a CPU core.

    python launch/main.py --config=configs/sst2_small.py
    python launch/sweep.py --config=configs/sst2_small.py:tmlp
"""

from configs import small_text, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be gmlp, tmlp or amlp, "smoke", or both with a comma between."""
    family, rest = small_text.split_arg(arg)
    return text_common.variant(small_text.sst2(family), rest)
