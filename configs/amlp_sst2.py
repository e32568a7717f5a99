"""Fine-tunes aMLP on SST-2 from the masked-LM run of configs/amlp_mlm_c4.py.

Recipe: configs/glue_tasks.py; another run with --config.init.weights=RUN, one of
aMLP-large with --config.model.tiny_attention_dim=128 besides.
Expected: not yet run. The paper has 93.4 % for aMLP-base.

    python launch/main.py --config=configs/amlp_sst2.py
"""

from configs import glue_tasks, text_common


def get_config(arg: str = ""):
    """The experiment; `arg` may be "smoke"."""
    config = glue_tasks.fine_tuned(glue_tasks.sst2(), "amlp", "runs/amlp_mlm_c4")
    return text_common.variant(config, arg)
