"""The text gMLP and aMLP of `mlp_text` in PyTorch, to compare with.

Source: Pay Attention to MLPs (arXiv:2105.08050), figures 1 and 6 and table 4.
"""

import dataclasses

import torch
from torch import nn

NUM_CLASSES = 2


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes and form of a model."""

    depth: int
    hidden_dim: int = 512
    ffn_dim: int = 3072
    length: int = 128
    vocab_size: int = 32_000
    attention_dim: int = 0  # Above 0: aMLP, whose spatial matrix is Toeplitz.


_SMALL = Sizes(depth=2, hidden_dim=128, ffn_dim=512, length=48, vocab_size=8192)
MODELS = {
    "gmlp_l18": Sizes(depth=18),
    "gmlp_l36": Sizes(depth=36),
    "gmlp_text_small": _SMALL,
    "amlp_text_small": dataclasses.replace(_SMALL, attention_dim=64),
}


class ToeplitzProjection(nn.Module):
    """Mixes tokens by a Toeplitz matrix."""

    def __init__(self, length: int):
        """Makes the parameters."""
        super().__init__()
        self.vector = nn.Parameter(1e-6 * torch.randn(2 * length - 1))
        self.bias = nn.Parameter(torch.ones(length))
        position = torch.arange(length)
        self.register_buffer("index", position[:, None] - position[None] + length - 1)

    def forward(self, x):
        """Maps [B, S, G] to [B, S, G]."""
        return self.vector[self.index] @ x + self.bias[:, None]


class TinyAttention(nn.Module):
    """Attention with one small head."""

    def __init__(self, in_dim: int, head_dim: int, out_dim: int):
        """Makes the parameters."""
        super().__init__()
        self.qkv, self.out = nn.Linear(in_dim, 3 * head_dim), nn.Linear(head_dim, out_dim)

    def forward(self, x):
        """Maps [B, S, C] to [B, S, O]."""
        return self.out(nn.functional.scaled_dot_product_attention(*self.qkv(x).chunk(3, dim=-1)))


class Block(nn.Module):
    """Normalise, expand, GELU, gate by the other tokens, project back; a skip around."""

    def __init__(self, sizes: Sizes):
        """Makes the parameters."""
        super().__init__()
        hidden_dim, gate_dim = sizes.hidden_dim, sizes.ffn_dim // 2
        self.norm, self.gate_norm = nn.LayerNorm(hidden_dim), nn.LayerNorm(gate_dim)
        self.project_in = nn.Linear(hidden_dim, sizes.ffn_dim)
        self.project_out = nn.Linear(gate_dim, hidden_dim)
        self.gelu = nn.GELU(approximate="tanh")
        self.attention = None
        if sizes.attention_dim:
            self.spatial = ToeplitzProjection(sizes.length)
            self.attention = TinyAttention(hidden_dim, sizes.attention_dim, gate_dim)
        else:
            self.spatial = nn.Conv1d(sizes.length, sizes.length, 1)

    def forward(self, x):
        """Maps [B, S, C] to [B, S, C]."""
        y = self.norm(x)
        bypass, gate = self.gelu(self.project_in(y)).chunk(2, dim=-1)
        gate = self.spatial(self.gate_norm(gate))
        if self.attention is not None:
            gate = gate + self.attention(y)
        return x + self.project_out(bypass * gate)


class Classifier(nn.Module):
    """Embeddings, blocks, and a head on the first token."""

    def __init__(self, sizes: Sizes):
        """Makes the parameters."""
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocab_size, sizes.hidden_dim)
        self.blocks = nn.Sequential(*(Block(sizes) for _ in range(sizes.depth)))
        self.norm = nn.LayerNorm(sizes.hidden_dim)
        self.head = nn.Linear(sizes.hidden_dim, NUM_CLASSES)

    def forward(self, ids):
        """Maps tokens [B, S] to logits [B, K]."""
        return self.head(self.norm(self.blocks(self.embedding(ids)))[:, 0])


def text_gmlp(name: str) -> tuple[nn.Module, int]:
    """The model of a name, and how many tokens it reads."""
    sizes = MODELS[name]
    return Classifier(sizes), sizes.length
