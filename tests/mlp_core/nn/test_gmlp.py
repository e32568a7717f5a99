"""The block of gMLP, tMLP and aMLP, against its equations and the paper's parameter counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, softmax

from mlp_core.errors import UserError
from mlp_core.nn.gmlp import GmlpBlock
from mlp_core.nn.parameters import count, flatten, unflatten
from mlp_core.nn.spatial_gating import GATINGS

B, S, C, E, A = 2, 6, 8, 12, 4


def made_params(block, tokens=S, channels=C):
    shapes = flatten(abstract_params(block, tokens, channels))
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(leaf.shape).astype(np.float32) for n, leaf in shapes.items()}


def abstract_params(block, tokens, channels):
    x = jax.ShapeDtypeStruct((1, tokens, channels), jnp.float32)
    return jax.eval_shape(block.init, jax.random.key(0), x)["params"]


def numpy_block(w, x, gating, spatial_matrix, head_dim):
    """Pay Attention to MLPs, equations 1 to 4 and figure 6, in float64, one token at a time."""
    w = {name: array.astype(np.float64) for name, array in w.items()}

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * w[f"{name}/scale"] + w[f"{name}/bias"]

    def dense(x, name):
        return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]

    y = norm(x, "norm")
    z = dense(y, "project_in")
    z = z * (1 + erf(z / np.sqrt(2))) / 2
    z1, z2 = (z[..., : E // 2], z[..., E // 2 :]) if gating == "split" else (z, z)
    z2 = norm(z2, "gating/norm")
    kernel, bias = w["gating/spatial/kernel"], w["gating/spatial/bias"]
    f = np.zeros_like(z2)
    for i in range(S):
        for j in range(S):
            weight = kernel[i, j] if spatial_matrix == "full" else kernel[S - 1 + j - i]
            f[:, i] += weight * z2[:, j]
        f[:, i] += bias[i]
    if head_dim:
        q, k, v = np.split(dense(y, "tiny_attention/qkv"), 3, axis=-1)
        scores = q @ k.swapaxes(1, 2) / np.sqrt(head_dim)
        f = f + dense(softmax(scores, axis=-1) @ v, "tiny_attention/out")
    s = {"split": z1 * f, "multiplicative": z1 * f, "additive": z1 + f, "linear": f}[gating]
    return x + dense(s, "project_out")


@pytest.mark.parametrize("gating", GATINGS)
@pytest.mark.parametrize("spatial_matrix", ["full", "toeplitz"])
@pytest.mark.parametrize("head_dim", [0, A])
def test_forward_pass_equals_one_written_in_numpy(gating, spatial_matrix, head_dim):
    block = GmlpBlock(E, gating, spatial_matrix, head_dim, gelu="erf")
    params = made_params(block)
    x = np.random.default_rng(1).standard_normal((B, S, C)).astype(np.float32)
    ours = block.apply({"params": unflatten(params)}, x)
    expected = numpy_block(params, x, gating, spatial_matrix, head_dim)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gating", GATINGS)
@pytest.mark.parametrize("spatial_matrix", ["full", "toeplitz"])
@pytest.mark.parametrize("changed", [0, S // 2, S - 1])
def test_changing_one_token_changes_every_position(gating, spatial_matrix, changed):
    block = GmlpBlock(E, gating, spatial_matrix)
    params = {"params": unflatten(made_params(block))}
    x = np.random.default_rng(1).standard_normal((1, S, C)).astype(np.float32)
    other = x.copy()
    other[:, changed] = np.random.default_rng(2).standard_normal(C)
    difference = np.abs(block.apply(params, x) - block.apply(params, other))[0].max(axis=1)
    assert (difference > 1e-4).all()


@pytest.mark.parametrize("spatial_matrix", ["full", "toeplitz"])
def test_gates_start_out_open(spatial_matrix):
    block = GmlpBlock(E, spatial_matrix=spatial_matrix)
    x = np.random.default_rng(1).standard_normal((1, S, C)).astype(np.float32)
    params = flatten(block.init(jax.random.key(0), x)["params"])
    assert 0 < np.abs(params["gating/spatial/kernel"]).max() < 1e-5
    np.testing.assert_array_equal(params["gating/spatial/bias"], np.ones(S))
    # A position's result hardly depends on the others: the block starts as a feed-forward one.
    other = x.copy()
    other[:, 0] += 1
    apply = lambda x: block.apply({"params": unflatten(params)}, x)  # noqa: E731
    assert np.abs(apply(x) - apply(other))[0, 1:].max() < 1e-4


# Per block of the paper's text models (table 4 and 5): channels, E, tokens, head; matrix, count.
COUNTS = [
    (512, 3072, 128, 0, "toeplitz", 2_367_359),
    (512, 3072, 128, 0, "full", 2_383_488),
    (512, 3072, 128, 64, "toeplitz", 2_565_695),
    (512, 3072, 512, 0, "toeplitz", 2_368_511),
]


@pytest.mark.parametrize("channels, ffn_dim, tokens, head_dim, spatial_matrix, expected", COUNTS)
def test_parameter_counts_are_the_papers(
    channels, ffn_dim, tokens, head_dim, spatial_matrix, expected
):
    block = GmlpBlock(ffn_dim, spatial_matrix=spatial_matrix, tiny_attention_dim=head_dim)
    assert count(abstract_params(block, tokens, channels)) == expected


def test_bfloat16_arithmetic_keeps_float32_parameters():
    block = GmlpBlock(E, tiny_attention_dim=A, dtype=jnp.bfloat16)
    x = np.random.default_rng(1).standard_normal((B, S, C)).astype(np.float32)
    params = block.init(jax.random.key(0), x)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    exact = GmlpBlock(E, tiny_attention_dim=A).apply({"params": params}, x)
    ours = block.apply({"params": params}, x)
    np.testing.assert_allclose(ours, exact, atol=0.1)
    assert np.abs(ours - exact).max() > 1e-5


@pytest.mark.parametrize("spatial_matrix", ["full", "toeplitz"])
@pytest.mark.parametrize("head_dim", [0, A])
def test_masked_tokens_change_nothing_but_themselves(spatial_matrix, head_dim):
    block = GmlpBlock(E, spatial_matrix=spatial_matrix, tiny_attention_dim=head_dim)
    params = {"params": unflatten(made_params(block))}
    x = np.random.default_rng(1).standard_normal((1, S, C)).astype(np.float32)
    other = x.copy()
    other[:, 4:] += 1
    mask = np.array([[1, 1, 1, 1, 0, 0]])
    ours, theirs = (block.apply(params, tokens, mask)[:, :4] for tokens in (x, other))
    np.testing.assert_array_equal(ours, theirs)
    # And what is masked may as well not be there.
    shorter = GmlpBlock(
        E, spatial_matrix=spatial_matrix, tiny_attention_dim=head_dim, num_tokens=S
    ).apply(params, x[:, :4])
    np.testing.assert_allclose(shorter, ours, rtol=1e-5, atol=1e-5)


def test_a_longer_sequence_has_the_weights_of_distances_that_are_known():
    block = GmlpBlock(E, spatial_matrix="toeplitz", num_tokens=S)
    params = {"params": unflatten(made_params(block))}
    x = np.random.default_rng(1).standard_normal((1, S + 3, C)).astype(np.float32)
    far = x.copy()
    far[:, -1] += 1  # S + 2 positions behind the first.
    before, after = block.apply(params, x), block.apply(params, far)
    assert before.shape == x.shape
    np.testing.assert_array_equal(before[:, 0], after[:, 0])
    assert np.abs(before - after)[:, 3:].max() > 1e-3


def test_a_full_matrix_refuses_longer_sequences():
    block = GmlpBlock(E, num_tokens=S)
    params = {"params": unflatten(made_params(block))}
    with pytest.raises(UserError, match="7 tokens are more than the 6"):
        block.apply(params, np.zeros((1, S + 1, C), np.float32))
