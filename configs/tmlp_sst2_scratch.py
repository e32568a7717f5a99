"""Trains tMLP of 18 blocks and 512 channels on SST-2 from random weights.

Recipe: configs/glue_tasks.py.
Expected: not yet run. The course work reports 80.4 % for its models.

    python launch/main.py --config=configs/tmlp_sst2_scratch.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.from_scratch(glue_tasks.sst2(), "tmlp")
    return text_common.variant(config, arg)
