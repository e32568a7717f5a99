"""All-MLP networks for images.

model, params = mlp_vision.load_pretrained("imagenet21k/Mixer-B_16")
logits = model.apply({"params": params}, images)
"""

from mlp_vision.models.registry import create_model
from mlp_vision.weights.pretrained import describe_weights, load_pretrained

__all__ = ["create_model", "describe_weights", "load_pretrained"]
