import re

import jax
import jax.numpy as jnp
import pytest

from mlp_core.planning.report import cycles_by_part, part_of
from mlp_vision.models.registry import create_model


@pytest.mark.parametrize(
    ("op_name", "part"),
    [
        (
            "jit(train_step)/jvp(Mixer)/MixerBlock_3/token_mixing/Dense_0/dot_general",
            ("MixerBlock_*/token_mixing/Dense_0", "forward"),
        ),
        (
            "jit(train_step)/while/body/closed_call/transpose(jvp(Mixer))/MixerBlock_11/"
            "LayerNorm_0/reduce_sum",
            ("MixerBlock_*/LayerNorm_0", "backward"),
        ),
        (
            "jit(train_step)/transpose(jvp(MaskedLm))/encoder/while/body/closed_call/"
            "GmlpBlocks.step/checkpoint/rematted_computation/GmlpBlocks.apply/GmlpBlocks/"
            "channel_expansion/dot_general",
            ("encoder/GmlpBlocks/channel_expansion", "recomputed"),
        ),
        (
            "jit(train_step)/transpose(jvp(Mixer))/jvp(Mixer)/checkpoint/MixerBlock_0.apply/"
            "MixerBlock_0/token_mixing/Dense_1/dot_general",
            ("MixerBlock_*/token_mixing/Dense_1", "backward"),
        ),
        (
            "jit(train_step)/jvp(Mixer)/while/body/jit(dynamic_index_in_dim)/dynamic_slice",
            ("arrays that a loop carries", "forward"),
        ),
        (
            "jit(train_step)/jvp(MaskedLm)/encoder/while/body/dynamic_update_slice",
            ("encoder/arrays that a loop carries", "forward"),
        ),
        ("jit(evaluate)/Mixer/MixerBlocks/head/dot_general", ("MixerBlocks/head", "")),
        ("jit(train_step)/augmentation/bmw,bhwc->bhmc/dot_general", ("augmentation", "")),
        ("jit(evaluate)/Mixer/stem/conv_general_dilated", ("stem", "")),
        ("jit(train_step)/optimizer/jit(_where)/mul", ("optimizer", "")),
        ("jit(train_step)/augmentation/vmap(jit(cut))/slice", ("augmentation", "")),
        ("args[0]", ("other", "")),
        ("", ("other", "")),
    ],
)
def test_an_operation_belongs_to_its_module(op_name, part):
    assert part_of(op_name) == part


@pytest.mark.parametrize("scan_layers", [False, True])
def test_products_of_a_compiled_gradient_are_told_by_module_and_phase(scan_layers):
    sizes = dict(patch_size=2, hidden_dim=8, num_blocks=2, tokens_mlp_dim=8, channels_mlp_dim=8)
    model = create_model("mixer", num_classes=3, **sizes, scan_layers=scan_layers, remat="blocks")
    images = jax.ShapeDtypeStruct((4, 8, 8, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)
    gradient = jax.jit(jax.grad(lambda params, images: model.apply(params, images).mean()))
    text = gradient.lower(params, images).compile().as_text()
    parts = {part_of(name) for name in re.findall(r'op_name="(\S*dot_general)"', text)}
    block = "MixerBlocks" if scan_layers else "MixerBlock_*"
    for mixing in ("token_mixing", "channel_mixing"):
        for phase in ("forward", "recomputed", "backward"):
            assert (f"{block}/{mixing}/Dense_0", phase) in parts
    assert ("head", "backward") in parts
    assert all(part.startswith((block, "head", "stem")) for part, _ in parts), parts


def test_parts_add_up_over_blocks_the_costliest_first():
    cycles = {
        "jit(f)/Mixer/stem/dot_general": 5,
        "jit(f)/Mixer/MixerBlock_0/token_mixing/dot_general": 4,
        "jit(f)/Mixer/MixerBlock_1/token_mixing/dot_general": 4,
    }
    assert cycles_by_part(cycles) == [("MixerBlock_*/token_mixing", "", 8), ("stem", "", 5)]
