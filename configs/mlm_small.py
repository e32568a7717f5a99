"""Trains a small gMLP, tMLP or aMLP as a masked language model, for sst2_small.py to start from.

Recipe: configs/small_text.py; the family is named behind the colon. By itself it reads the training
sentences of SST-2; name a corpus besides, as docs/pretrain_text.md joins them.
Expected: on 15 MB of text in C4's form and SST-2's sentences, perplexity on held-out text 160
(gmlp), 114 (tmlp) and 106 (amlp), where the unigram model has 975.
Cost: 11 to 15 minutes of a CPU core that other work shared.

    python launch/main.py --config=configs/mlm_small.py:tmlp
"""

from configs import small_text, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be gmlp, tmlp or amlp, "smoke", or both with a comma between."""
    family, rest = small_text.split_arg(arg)
    return text_common.variant(small_text.mlm(family), rest)
