"""What MLP-Mixer's paper tells of speed and cost on TPU v3: arXiv:2105.01601, table 3."""

from mlp_core.planning.planned_run import PaperFigures

# Of the forward pass at 224 pixels, a second and core.
IMAGES_PER_SECOND = {
    "mixer_s32": 11_489,
    "mixer_b32": 4_208,
    "mixer_s16": 3_994,
    "mixer_b16": 1_384,
    "mixer_l32": 1_314,
    "mixer_l16": 419,
    "mixer_h14": 194,
}
# Of a whole training, by model, data set and epochs; in the paper as thousands to two places.
CORE_DAYS = {
    ("mixer_b16", "imagenet2012", 300): 10,
    ("mixer_l16", "imagenet2012", 300): 40,
    ("mixer_b16", "imagenet21k", 300): 150,
    ("mixer_l16", "imagenet21k", 300): 410,
    ("mixer_s32", "jft_300m", 5): 10,
    ("mixer_b32", "jft_300m", 7): 50,
    ("mixer_s16", "jft_300m", 5): 30,
    ("mixer_b16", "jft_300m", 7): 80,
    ("mixer_l32", "jft_300m", 7): 120,
    ("mixer_l16", "jft_300m", 7): 230,
    ("mixer_l16", "jft_300m", 14): 450,
    ("mixer_h14", "jft_300m", 14): 1_010,
}


def published_costs(model: str, image_size: int, data: str, epochs: float | None) -> PaperFigures:
    """What the paper tells of a model, and of its training on a data set for so many epochs."""
    return PaperFigures(
        examples_per_core_second=IMAGES_PER_SECOND.get(model) if image_size == 224 else None,
        core_days=CORE_DAYS.get((model, data, epochs)) if image_size == 224 else None,
    )
