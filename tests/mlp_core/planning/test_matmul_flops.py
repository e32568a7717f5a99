import jax
import jax.numpy as jnp
import pytest

from mlp_core.planning.matmul_flops import matmul_flops
from mlp_vision.models.registry import create_model

X, W = jnp.zeros((16, 32)), jnp.zeros((32, 32))
ONE_PRODUCT = 2 * 16 * 32 * 32


def flops(function, *arguments):
    return matmul_flops(jax.make_jaxpr(function)(*arguments))


def layers(x, w, depth):
    for _ in range(depth):
        x = jnp.tanh(x @ w)
    return x


def scanned(x, w, depth):
    return jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, length=depth)[0]


def test_a_scan_counts_as_its_unrolled_form():
    assert flops(lambda x, w: layers(x, w, 5), X, W) == 5 * ONE_PRODUCT
    assert flops(lambda x, w: scanned(x, w, 5), X, W) == 5 * ONE_PRODUCT


@pytest.mark.parametrize("form", [layers, scanned])
def test_a_gradient_costs_two_more_products(form):
    loss = jax.grad(lambda w, x: form(x, w, 4).sum())
    # The first layer has no gradient to hand on; a scan does not know which is the first.
    spared = 1 if form is layers else 0
    assert flops(loss, W, X) == (3 * 4 - spared) * ONE_PRODUCT


def test_what_is_computed_anew_counts():
    block = jax.checkpoint(lambda x, w: layers(x, w, 3))
    plain = flops(jax.grad(lambda w, x: layers(x, w, 3).sum()), W, X)
    anew = flops(jax.grad(lambda w, x: block(x, w).sum()), W, X)
    assert plain < anew <= plain + 3 * ONE_PRODUCT


def test_of_branches_the_costliest_counts():
    def branches(x, w):
        return jax.lax.cond(x[0, 0] > 0, lambda: layers(x, w, 1), lambda: layers(x, w, 3))

    assert flops(branches, X, W) == 3 * ONE_PRODUCT


def test_convolutions_count_each_weight_once_an_output():
    images, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((4, 4, 3, 10))
    patches = lambda images, kernel: jax.lax.conv_general_dilated(  # noqa: E731
        images, kernel, (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert flops(patches, images, kernel) == 2 * (2 * 2 * 2 * 10) * (4 * 4 * 3)


def test_mixer_b16_has_the_operations_of_its_paper():
    model = create_model("mixer_b16", num_classes=1000)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), images)
    # 12.6 billion products and sums, counted as two.
    assert flops(model.apply, params, images) == pytest.approx(2 * 12.6e9, rel=0.01)
