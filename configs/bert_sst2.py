"""Fine-tunes BERT-base on SST-2: the baseline.

Recipe: configs/glue_tasks.py; warm-up, rate and dropout are BERT's own (arXiv:1810.04805, A.3).
Expected: not yet run. The paper on gMLP quotes 92.7 % for BERT-base.

    python launch/main.py --config=configs/bert_sst2.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.fine_tuned(glue_tasks.sst2(), "bert", "hf://google-bert/bert-base-uncased")
    return text_common.variant(config, arg)
