"""Classification losses. Shapes: B batch, K classes."""

import jax
import jax.numpy as jnp
import optax

from mlp_vision.models.model_spec import Output


def class_shares(labels: jax.Array, num_classes: int, label_smoothing: float = 0.0) -> jax.Array:
    """Labels as shares of the classes, float32 [B, K], that add up to one.

    `labels` are integers [B], or shares [B, K] where pictures were mixed. Smoothing takes its part
    of them and spreads it evenly over all K classes (arXiv:1512.00567, section 7).
    """
    shares = jax.nn.one_hot(labels, num_classes) if labels.ndim == 1 else labels
    return (1 - label_smoothing) * shares + label_smoothing / num_classes


def cross_entropies(output: Output, logits: jax.Array, shares: jax.Array) -> jax.Array:
    """The loss of each example, [B], for logits and shares of the classes, [B, K].

    "softmax": one distribution over the classes. "sigmoid": a yes or no for each class, summed over
    them, as in google-research/big_vision.
    """
    if output == "softmax":
        return optax.softmax_cross_entropy(logits, shares)
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, shares), axis=-1)
