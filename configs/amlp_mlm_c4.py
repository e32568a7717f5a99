"""Trains aMLP, gMLP with a tiny attention head, as a masked language model on C4.

Recipe: configs/mlm_pretraining.py. Sizes behind a colon: base (109 million parameters, the default)
and large (316 million) of the full run, l36 and l18 of the short one; `,smoke` for a short trial.
Expected: not yet run. The paper's perplexities, with a vocabulary that is not published: base 3.95,
large 3.19.
Cost: base 126 GFLOP forward a sequence, 97 EFLOP in all.

    python launch/main.py --config=configs/amlp_mlm_c4.py
"""

from configs import mlm_pretraining


def get_config(arg: str = ""):
    """The experiment; `arg` may be a size, "smoke" or "SIZE,smoke"."""
    return mlm_pretraining.c4("amlp", arg, ("base", "large", "l36", "l18"))
