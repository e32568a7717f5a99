"""The text gMLP of `mlp_text` in PyTorch, to compare with: 512 channels, 3072 inside, 128 tokens.

Source: Pay Attention to MLPs (arXiv:2105.08050), figure 1 and table 4.
"""

from torch import nn

VOCAB_SIZE, HIDDEN_DIM, FFN_DIM, LENGTH, NUM_CLASSES = 32_000, 512, 3072, 128, 2


class Block(nn.Module):
    """Normalise, expand, GELU, gate by the other tokens, project back; a skip around."""

    def __init__(self):
        """Makes the parameters."""
        super().__init__()
        self.norm, self.gate_norm = nn.LayerNorm(HIDDEN_DIM), nn.LayerNorm(FFN_DIM // 2)
        self.project_in = nn.Linear(HIDDEN_DIM, FFN_DIM)
        self.spatial = nn.Conv1d(LENGTH, LENGTH, 1)
        self.project_out = nn.Linear(FFN_DIM // 2, HIDDEN_DIM)
        self.gelu = nn.GELU(approximate="tanh")

    def forward(self, x):
        """Maps [B, S, C] to [B, S, C]."""
        bypass, gate = self.gelu(self.project_in(self.norm(x))).chunk(2, dim=-1)
        return x + self.project_out(bypass * self.spatial(self.gate_norm(gate)))


class Classifier(nn.Module):
    """Embeddings, blocks, and a head on the first token."""

    def __init__(self, depth: int):
        """Makes the parameters of `depth` blocks."""
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, HIDDEN_DIM)
        self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
        self.norm = nn.LayerNorm(HIDDEN_DIM)
        self.head = nn.Linear(HIDDEN_DIM, NUM_CLASSES)

    def forward(self, ids):
        """Maps tokens [B, S] to logits [B, K]."""
        return self.head(self.norm(self.blocks(self.embedding(ids)))[:, 0])


def text_gmlp(depth: int) -> tuple[nn.Module, int]:
    """The model, and how many tokens it reads."""
    return Classifier(depth), LENGTH
