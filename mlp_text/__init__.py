"""All-MLP networks for text.

model, params = mlp_text.load_pretrained("runs/gmlp_mlm_python")
states = model.apply({"params": params}, input_ids, attention_mask, token_type_ids)
"""

from mlp_text.models import create_encoder
from mlp_text.pretrained import load_pretrained
from mlp_text.tokenizer import open_tokenizer

__all__ = ["create_encoder", "load_pretrained", "open_tokenizer"]
