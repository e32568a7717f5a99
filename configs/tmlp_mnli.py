"""Fine-tunes tMLP on MNLI from the masked-LM run of configs/gmlp_mlm_c4.py,
whose spatial matrices stay Toeplitz ones.

Recipe: configs/glue_tasks.py; another run with --config.init.weights=RUN.
Expected: not yet run. The paper has 80.9 % (matched) for 36 blocks.

    python launch/main.py --config=configs/tmlp_mnli.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.fine_tuned(glue_tasks.mnli(), "tmlp", "runs/gmlp_mlm_c4")
    return text_common.variant(config, arg)
