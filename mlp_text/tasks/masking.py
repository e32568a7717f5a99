"""Masking for masked language modelling, on the device.

As in BERT (arXiv:1810.04805), 15 % of a row's ordinary tokens are predicted; of these, 80 % become
the mask token, 10 % a random ordinary token, and 10 % are unchanged. A row has a fixed number of
prediction slots, so that shapes are static and only the slots go through the softmax over the
vocabulary.
Shapes: B batch, S tokens, P prediction slots, V vocabulary.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mlp_core.errors import UserError
from mlp_core.train.task import Batch

NEVER = -1.0  # Below all random scores.


@dataclasses.dataclass(frozen=True, eq=False)
class Masking:
    """Masking of token ids of one vocabulary.

    Args:
      vocab_size: V.
      mask_id: id of the mask token.
      special_ids: ids never predicted or drawn at random, including the pad; `mask_id` is always
        one of them.
      continuation: bool [V], true for pieces that continue a word; used for whole words only.
      whole_word: whether all pieces of a word are predicted together.
      rate: share of a row's ordinary tokens to predict, rounded, at least one token.
      mask_share: share of these that become the mask token.
      random_share: share of these that become a random ordinary token.
      num_slots: P, maximum predictions per row; 15 % of 128, rounded up.

    Raises:
        UserError: a share or id is out of range, or no ordinary token is left.
    """

    vocab_size: int
    mask_id: int
    special_ids: Sequence[int]
    continuation: np.ndarray | None = None
    whole_word: bool = False
    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    num_slots: int = 20

    def __post_init__(self):
        """Validates the fields."""
        if not 0 < self.rate <= 1:
            raise UserError(f"Masking: the rate is {self.rate}; it must be above 0 and at most 1.")
        if min(self.mask_share, self.random_share) < 0 or self.mask_share + self.random_share > 1:
            raise UserError(
                f"Masking: mask_share {self.mask_share} and random_share {self.random_share} must "
                "not be negative nor add up to more than 1."
            )
        if self.num_slots < 1:
            raise UserError(f"Masking: num_slots is {self.num_slots}; it must be 1 at least.")
        ids = {self.mask_id, *self.special_ids}
        if not 0 <= min(ids) <= max(ids) < self.vocab_size:
            raise UserError(
                f"Masking: the special ids {sorted(ids)} do not fit a vocabulary of "
                f"{self.vocab_size} tokens."
            )
        if len(ids) == self.vocab_size:
            raise UserError("Masking: every token of the vocabulary is a special one.")
        if self.whole_word and np.shape(self.continuation) != (self.vocab_size,):
            raise UserError(
                "Masking: whole words can only be masked where the vocabulary says which of its "
                f"{self.vocab_size} tokens go on a word."
            )

    @property
    def ordinary(self) -> np.ndarray:
        """Mask of ids that are not special: bool [V]."""
        ordinary = np.ones(self.vocab_size, bool)
        ordinary[[self.mask_id, *self.special_ids]] = False
        return ordinary

    def mask_tokens(self, rng: jax.Array, input_ids: jax.Array) -> Batch:
        """Masks rows [B, S] of ids, P <= S; jit-friendly.

        Returns:
          `input_ids` int32 [B, S] with tokens replaced; `positions` int32 [B, P] of the tokens to
          predict, unordered; `targets` int32 [B, P], the original ids; `weights` float32 [B, P],
          one, or zero in unused slots, whose position is 0.
        """
        return self._mask_rows(jax.random.split(rng, len(input_ids)), input_ids)

    def mask_tokens_by_index(
        self, seed: int | jax.Array, index: jax.Array, input_ids: jax.Array
    ) -> Batch:
        """Masks rows [B, S] deterministically by their `index` [B]; for evaluation.

        The masks of a row do not depend on its batch, or the number or kind of devices.
        """
        rng = jax.random.key(seed, impl="threefry2x32")  # Independent of the training RNG.
        return self._mask_rows(jax.vmap(lambda i: jax.random.fold_in(rng, i))(index), input_ids)

    def _mask_rows(self, rngs: jax.Array, input_ids: jax.Array) -> Batch:
        return jax.vmap(self._mask_row)(rngs, jnp.asarray(input_ids, jnp.int32))

    def _mask_row(self, rng: jax.Array, ids: jax.Array) -> Batch:
        # One draw per row compiles several times faster than one per use.
        draws = jax.random.uniform(rng, (len(ids) + 2 * self.num_slots,))
        scores, fate, lots = jnp.split(draws, [len(ids), len(ids) + self.num_slots])
        drawn, count = self._draw(scores, ids)
        used = jnp.arange(self.num_slots) < count  # [P]
        positions = jnp.where(used, drawn, 0)
        targets = ids[positions]
        ordinary_ids = np.flatnonzero(self.ordinary).astype(np.int32)
        random_ids = jnp.asarray(ordinary_ids)[(lots * len(ordinary_ids)).astype(jnp.int32)]
        replaced = jnp.where(fate < self.mask_share + self.random_share, random_ids, targets)
        replaced = jnp.where(fate < self.mask_share, self.mask_id, replaced)
        beyond = len(ids)  # Out of bounds, so not written.
        return {
            "input_ids": ids.at[jnp.where(used, positions, beyond)].set(replaced, mode="drop"),
            "positions": positions,
            "targets": targets,
            "weights": used.astype(jnp.float32),
        }

    def _draw(self, scores: jax.Array, ids: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns positions [P] to predict by random scores [S], and how many are used."""
        ordinary = jnp.asarray(self.ordinary)[ids]  # [S]
        total = ordinary.sum()
        budget = jnp.clip(jnp.round(self.rate * total).astype(jnp.int32), 1, self.num_slots)
        if self.whole_word:
            starts = word_starts(ordinary, jnp.asarray(self.continuation)[ids])
            drawn, taken = _draw_words(scores, ordinary, starts, budget)
            return drawn[_highest(taken, self.num_slots)], taken.sum()
        drawn = _highest(jnp.where(ordinary, scores, NEVER), self.num_slots)
        return drawn, jnp.minimum(budget, total)


def word_starts(ordinary: jax.Array, continuation: jax.Array) -> jax.Array:
    """Returns word starts, all bool [S]: no continuation, or at a row start or after a special."""
    after_ordinary = jnp.concatenate([jnp.zeros(1, bool), ordinary[:-1]])
    return ordinary & ~(continuation & after_ordinary)


def _draw_words(
    scores: jax.Array, ordinary: jax.Array, starts: jax.Array, budget: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns all positions [S] in the order drawn, word by word, and which to predict.

    A word that does not fit the remaining budget is skipped. If every word of the row exceeds the
    whole budget, the first one drawn is truncated to it.
    """
    places = jnp.arange(len(scores))
    firsts = jax.lax.cummax(jnp.where(starts, places, 0))  # [S], first piece of each word
    lengths = jnp.zeros_like(places).at[firsts].add(ordinary)  # At first pieces.
    # The stable sort shuffles words but keeps the order of their pieces.
    drawn = jnp.argsort(jnp.where(ordinary, scores[firsts], NEVER), descending=True)

    def take(state, piece):
        left, taken = state
        is_first, length = piece
        taken = jnp.where(is_first, length <= left, taken)
        return (left - taken, taken), taken

    _, taken = jax.lax.scan(take, (budget, jnp.array(False)), (starts[drawn], lengths[drawn]))
    taken &= ordinary[drawn]
    cut = (places < budget) & ordinary[drawn]
    return drawn, jnp.where(taken.any(), taken, cut)


def _highest(scores: jax.Array, count: int) -> jax.Array:
    """Returns indices [count] of the highest scores [S]; ties in index order."""
    return jax.lax.top_k(scores, count)[1]
