"""Trains aMLP of 18 blocks and 512 channels on MNLI, fed with the states of BERT-base.

Recipe: configs/glue_tasks.py. Other states: --config.bert.features=second_last, sum4 or concat4; a
BERT that learns, at a tenth of the rate: --config.bert.rate_factor=0.1.
Expected: not yet run.

    python launch/main.py --config=configs/amlp_bert_mnli.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.on_bert(glue_tasks.mnli(), "amlp")
    return text_common.variant(config, arg)
