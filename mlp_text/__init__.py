"""All-MLP networks for text.

model, params = mlp_text.load_pretrained("runs/gmlp_mlm_python")
states = model.apply({"params": params}, input_ids, attention_mask, token_type_ids)
"""

from mlp_text.models.registry import create_encoder
from mlp_text.tokens.tokenizer import open_tokenizer
from mlp_text.weights.pretrained import load_pretrained

__all__ = ["create_encoder", "load_pretrained", "open_tokenizer"]
