"""Weight files in the published layout, with made content."""

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.nn.parameters import flatten
from mlp_core.weights.files import write_weight_file
from mlp_vision.models.registry import create_model


def made_arrays(model: str, num_classes: int, image_size: int, **fields) -> dict[str, np.ndarray]:
    """Random arrays with the names and shapes of a model."""
    module = create_model(model, num_classes, **fields)
    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    shapes = flatten(jax.eval_shape(module.init, jax.random.key(0), images)["params"])
    rng = np.random.default_rng(0)
    return {name: _made_array(rng, name, leaf.shape) for name, leaf in shapes.items()}


def _made_array(rng, name, shape) -> np.ndarray:
    """As large as in a trained model, so that every part of it matters."""
    noise = rng.standard_normal(shape, np.float32)
    if name.endswith("/kernel"):
        return noise * np.float32(1 / np.sqrt(np.prod(shape[:-1])))
    return noise * np.float32(0.1) + np.float32(name.endswith("/scale"))


def tiny_arrays(num_classes: int = 10) -> dict[str, np.ndarray]:
    """A Mixer of two blocks on images of 32 pixels in patches of 8."""
    return made_arrays("mixer", num_classes, 32, **TINY)


def write_tiny(path, num_classes: int = 10):
    """Writes `tiny_arrays` and returns the path."""
    write_weight_file(path, tiny_arrays(num_classes))
    return path


TINY = dict(patch_size=8, hidden_dim=32, num_blocks=2, tokens_mlp_dim=24, channels_mlp_dim=64)
TINY_GMLP = dict(patch_size=8, hidden_dim=32, num_blocks=2, ffn_dim=48)
