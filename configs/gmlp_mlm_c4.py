"""Trains gMLP as a masked language model on C4, the paper's short or full run.

Recipe: configs/mlm_pretraining.py. Sizes behind a colon: l36 (102 million parameters, the default),
l18, l72 and l144 of the short run, base, large and xlarge (130, 365, 941 million) of the full one;
`,smoke` for a short trial. The forms of the spatial gating unit of table 3:
--config.model.gating=linear, additive, multiplicative or split.
Expected: not yet run. The paper's perplexities, with a vocabulary that is not published: l18 5.25,
l36 4.35, l72 3.79, l144 3.43; base 4.28, large 3.32, xlarge 2.89.
Cost: l36 24 GFLOP forward a sequence, 18 EFLOP in all; base 155, 120 EFLOP.

    python launch/main.py --config=configs/gmlp_mlm_c4.py
    python launch/main.py --config=configs/gmlp_mlm_c4.py:base
"""

from configs import mlm_pretraining


def get_config(arg: str = ""):
    """The experiment; `arg` may be a size, "smoke" or "SIZE,smoke"."""
    sizes = ("l36", "l18", "l72", "l144", *mlm_pretraining.FULL)
    return mlm_pretraining.c4("gmlp", arg, sizes)
