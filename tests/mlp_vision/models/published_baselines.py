"""Arrays named and laid out as Google published those of ViT and BiT, with made content.

The tests' logits are those of timm 1.0.31 (PyTorch 2.13, float64) on these very arrays, read by
timm's own loaders of such files:

    VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4,
                      num_classes=10, act_layer="gelu_tanh")
    ResNetV2([2, 1], channels=(256, 512), num_classes=10, stem_type="fixed",
             conv_layer=partial(StdConv2d, eps=1e-10))
"""

import jax
import numpy as np

PICTURE_SIZE = 32


def vit_arrays() -> dict[str, np.ndarray]:
    """Two blocks of 32 channels and four heads, on 4 x 4 patches of 8 pixels."""
    shapes = {
        "cls": (1, 1, 32),
        "Transformer/posembed_input/pos_embedding": (1, 17, 32),
        "embedding/kernel": (8, 8, 3, 32),
        "embedding/bias": (32,),
        "Transformer/encoder_norm/scale": (32,),
        "Transformer/encoder_norm/bias": (32,),
        "head/kernel": (32, 10),
        "head/bias": (10,),
    }
    for i in range(2):
        block = f"Transformer/encoderblock_{i}"
        for part in ("query", "key", "value"):
            attention = f"{block}/MultiHeadDotProductAttention_1/{part}"
            shapes |= {f"{attention}/kernel": (32, 4, 8), f"{attention}/bias": (4, 8)}
        shapes |= {
            f"{block}/MultiHeadDotProductAttention_1/out/kernel": (4, 8, 32),
            f"{block}/MultiHeadDotProductAttention_1/out/bias": (32,),
            f"{block}/LayerNorm_0/scale": (32,),
            f"{block}/LayerNorm_0/bias": (32,),
            f"{block}/LayerNorm_2/scale": (32,),
            f"{block}/LayerNorm_2/bias": (32,),
            f"{block}/MlpBlock_3/Dense_0/kernel": (32, 128),
            f"{block}/MlpBlock_3/Dense_0/bias": (128,),
            f"{block}/MlpBlock_3/Dense_1/kernel": (128, 32),
            f"{block}/MlpBlock_3/Dense_1/bias": (32,),
        }
    return _filled(shapes)


def bit_arrays() -> dict[str, np.ndarray]:
    """Two units, then one at half the resolution."""
    shapes = {
        "resnet/root_block/standardized_conv2d/kernel": (7, 7, 3, 64),
        "resnet/group_norm/gamma": (512,),
        "resnet/group_norm/beta": (512,),
        "resnet/head/conv2d/kernel": (1, 1, 512, 10),
        "resnet/head/conv2d/bias": (10,),
    }
    for block, unit, seen, width in ((1, 1, 64, 64), (1, 2, 256, 64), (2, 1, 256, 128)):
        name = f"resnet/block{block}/unit{unit:02d}"
        for part, size, channels, out in (
            ("a", 1, seen, width),
            ("b", 3, width, width),
            ("c", 1, width, 4 * width),
        ):
            shapes |= {
                f"{name}/{part}/group_norm/gamma": (channels,),
                f"{name}/{part}/group_norm/beta": (channels,),
                f"{name}/{part}/standardized_conv2d/kernel": (size, size, channels, out),
            }
        if unit == 1:
            shapes[f"{name}/a/proj/standardized_conv2d/kernel"] = (1, 1, seen, 4 * width)
    return _filled(shapes)


def pictures() -> np.ndarray:
    """Two in the value range."""
    shape = (2, PICTURE_SIZE, PICTURE_SIZE, 3)
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def logits_of(model, params):
    """Those of the pictures."""
    return jax.jit(model.apply)({"params": params}, pictures())


def _filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """As large as in a trained model, so that every part of it matters."""
    rng, arrays = np.random.default_rng(0), {}
    for name in sorted(shapes):
        noise = rng.standard_normal(shapes[name])
        if name.endswith("kernel"):
            noise /= np.sqrt(np.prod(shapes[name][:-1]) / (3 if "head" not in name else 1))
        elif name.endswith(("scale", "gamma")):
            noise = 1 + 0.2 * noise
        else:
            noise *= 0.2
        arrays[name] = noise.astype(np.float32)
    return arrays
