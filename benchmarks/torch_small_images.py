"""The small image models of `bare_model.py` by timm: 32 x 32 images, patches of 4, ten classes."""

from functools import partial

import timm.layers
from timm.models.mlp_mixer import MlpMixer, SpatialGatingBlock
from torch import nn

# The ratios are the widths of token mixing and channel mixing over the channels.
MODELS = {
    "mixer_small": partial(MlpMixer, num_blocks=8, embed_dim=128, mlp_ratio=(0.5, 4.0)),
    "mixer_coursework": partial(MlpMixer, num_blocks=8, embed_dim=256, mlp_ratio=(1.0, 4.0)),
    "gmlp_cifar": partial(
        MlpMixer,
        num_blocks=8,
        embed_dim=256,
        mlp_ratio=4.0,
        block_layer=SpatialGatingBlock,
        mlp_layer=timm.layers.GatedMlp,
    ),
}


def small_image_model(name: str) -> nn.Module:
    """The model of a name."""
    return MODELS[name](num_classes=10, img_size=32, patch_size=4)
