"""From pooled features to logits.

Shapes: B batch, C channels, K classes.
"""

import flax.linen as nn
import jax


def linear_head(features: jax.Array, num_classes: int) -> jax.Array:
    """Maps [B, C] to [B, K], float32, by a submodule `head`, zero at first; none for 0 classes."""
    if num_classes == 0:
        return features
    return nn.Dense(num_classes, kernel_init=nn.initializers.zeros, name="head")(features)
