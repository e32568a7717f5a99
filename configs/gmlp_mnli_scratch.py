"""Trains gMLP of 18 blocks and 512 channels on MNLI from random weights.

Recipe: configs/glue_tasks.py.
Expected: not yet run.

    python launch/main.py --config=configs/gmlp_mnli_scratch.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.from_scratch(glue_tasks.mnli(), "gmlp")
    return text_common.variant(config, arg)
