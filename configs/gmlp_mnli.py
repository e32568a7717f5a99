"""Fine-tunes gMLP on MNLI from the masked-LM run of configs/gmlp_mlm_c4.py,
whose spatial matrices, Toeplitz in the run, become full ones.

Recipe: configs/glue_tasks.py; another run with --config.init.weights=RUN.
Expected: not yet run. The paper has 80.9 % (matched) for 36 blocks, whose matrices stay Toeplitz
ones.

    python launch/main.py --config=configs/gmlp_mnli.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.fine_tuned(glue_tasks.mnli(), "gmlp", "runs/gmlp_mlm_c4")
    config.model.spatial_matrix = "full"
    return text_common.variant(config, arg)
