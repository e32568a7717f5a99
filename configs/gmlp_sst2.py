"""Fine-tunes gMLP on SST-2 from the masked-LM run of configs/gmlp_mlm_c4.py,
whose spatial matrices, Toeplitz in the run, become full ones.

Recipe: configs/glue_tasks.py; another run with --config.init.weights=RUN.
Expected: not yet run. The paper has 92.3 % for 36 blocks, whose matrices stay Toeplitz ones.

    python launch/main.py --config=configs/gmlp_sst2.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.fine_tuned(glue_tasks.sst2(), "gmlp", "runs/gmlp_mlm_c4")
    config.model.spatial_matrix = "full"
    return text_common.variant(config, arg)
