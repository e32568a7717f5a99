"""Fine-tunes BERT-base on MNLI: the baseline.

Recipe: configs/glue_tasks.py; warm-up, rate and dropout are BERT's own (arXiv:1810.04805, A.3).
Expected: not yet run. The paper on gMLP quotes 84.4 % (matched) for BERT-base.

    python launch/main.py --config=configs/bert_mnli.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.fine_tuned(glue_tasks.mnli(), "bert", "hf://google-bert/bert-base-uncased")
    return text_common.variant(config, arg)
