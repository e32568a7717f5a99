"""Which tokens are masked, and what stands there then."""

import dataclasses

import jax
import numpy as np
import pytest

from mlp_core.distributed.mesh import batch_sharding, make_mesh
from mlp_core.errors import UserError
from tests.mlp_text.data.made_text import (
    CONTINUATION,
    LENGTH,
    MASK,
    SPECIAL,
    VOCAB_SIZE,
    made_masking,
    made_row,
    made_rows,
)

RNG = jax.random.key(0)
NUM_ORDINARY = VOCAB_SIZE - len(SPECIAL)


def masked_rows(masking, rows, rng=RNG):
    return jax.device_get(jax.jit(masking.mask_tokens)(rng, rows))


def chosen_places(masked, length):
    """Which tokens are to be predicted: bool [B, S]."""
    chosen = np.zeros((len(masked["weights"]), length), bool)
    row, slot = np.nonzero(masked["weights"])
    chosen[row, masked["positions"][row, slot]] = True
    return chosen


def words_of(row, continuation=CONTINUATION):
    """Places of the pieces of each word, found token by token."""
    words, after_ordinary = [], False
    for place, token in enumerate(row):
        if token not in SPECIAL:
            if continuation[token] and after_ordinary:
                words[-1].append(place)
            else:
                words.append([place])
        after_ordinary = token not in SPECIAL
    return words


@pytest.fixture(scope="module")
def many():
    """Full rows of 128 tokens, and what masking makes of them."""
    rows = made_rows(4096, shortest=126, longest=126, length=128)
    return rows, masked_rows(made_masking(num_slots=20), rows)


def test_fifteen_percent_of_each_row_are_chosen_each_token_once(many):
    _, masked = many
    assert masked["positions"].shape == masked["targets"].shape == (4096, 20)
    assert masked["positions"].dtype == masked["targets"].dtype == np.int32
    assert masked["weights"].dtype == np.float32
    assert set(np.unique(masked["weights"])) == {0, 1}
    assert (masked["weights"].sum(1) == 19).all()  # 0.15 * 126 is 18.9.
    assert (chosen_places(masked, 128).sum(1) == 19).all()


def test_each_place_is_chosen_as_often_as_any_other(many):
    _, masked = many
    often = chosen_places(masked, 128)[:, 1:-1].mean(0)
    np.testing.assert_allclose(often, 19 / 126, atol=0.025)  # 4.5 standard deviations.


def test_eighty_percent_become_the_mask_ten_a_random_token_ten_stay(many):
    rows, masked = many
    chosen = chosen_places(masked, 128)
    before, after = rows[chosen], masked["input_ids"][chosen]
    assert (after == MASK).mean() == pytest.approx(0.8, abs=0.006)
    changed = (after != MASK) & (after != before)
    same_by_chance = 0.1 / NUM_ORDINARY
    assert changed.mean() == pytest.approx(0.1 - same_by_chance, abs=0.0045)
    assert (after == before).mean() == pytest.approx(0.1 + same_by_chance, abs=0.0045)


@pytest.mark.parametrize("whole_word", [False, True])
def test_specials_and_pads_are_never_chosen_and_all_else_stays(whole_word):
    rows = made_rows(500)
    rows[:, 5:30:6] = np.array(SPECIAL)[None]  # Inside of the text too.
    masked = masked_rows(made_masking(whole_word=whole_word, rate=0.5), rows)
    chosen = chosen_places(masked, LENGTH)
    assert chosen.any(0)[1:4].all() and not chosen[np.isin(rows, SPECIAL)].any()
    np.testing.assert_array_equal(masked["input_ids"][~chosen], rows[~chosen])
    used = masked["weights"] > 0
    stood_there = np.take_along_axis(rows, masked["positions"], axis=1)
    np.testing.assert_array_equal(masked["targets"][used], stood_there[used])
    assert not masked["positions"][~used].any()


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("slots, most", [(6, 4), (3, 3)])
def test_short_rows_have_one_to_predict_and_slots_never_overflow(whole_word, slots, most):
    rows = [np.zeros(LENGTH), *(made_row([7] * size) for size in (0, 1, 3, 10, 30))]
    counts = [0, 0, 1, 1, 2, most]  # 0.15 * 30 is 4.5: halves go to the even number.
    masked = masked_rows(
        made_masking(whole_word=whole_word, num_slots=slots), np.array(rows, np.int32)
    )
    assert masked["positions"].shape == (6, slots)
    np.testing.assert_array_equal(masked["weights"].sum(1), counts)
    np.testing.assert_array_equal(chosen_places(masked, LENGTH).sum(1), counts)


def test_random_tokens_are_ordinary_ones_each_as_likely():
    masking = made_masking(mask_share=0.0, random_share=1.0, num_slots=20)
    masked = masked_rows(masking, made_rows(4096, 126, 126, 128))
    drawn = masked["input_ids"][chosen_places(masked, 128)]
    counts = np.bincount(drawn, minlength=VOCAB_SIZE)
    assert not counts[list(SPECIAL)].any()
    expected = len(drawn) / NUM_ORDINARY  # 2224, with a standard deviation of 47.
    np.testing.assert_allclose(counts[len(SPECIAL) :], expected, atol=200)


@pytest.mark.parametrize("whole_word", [False, True])
def test_a_key_gives_the_same_masks_again_and_another_key_others(whole_word):
    masking, rows = made_masking(whole_word=whole_word), made_rows(50, shortest=20)
    once, again = masked_rows(masking, rows), masked_rows(masking, rows)
    jax.tree.map(np.testing.assert_array_equal, once, again)
    other = masked_rows(masking, rows, jax.random.key(1))
    assert (once["positions"] != other["positions"]).any(1).mean() > 0.9


def test_rows_of_the_same_text_are_masked_each_in_its_own_way():
    masked = masked_rows(made_masking(), made_rows(1, shortest=20).repeat(50, axis=0))
    assert len(np.unique(chosen_places(masked, LENGTH), axis=0)) > 45


@pytest.mark.parametrize("whole_word", [False, True])
def test_masks_by_index_depend_on_nothing_but_the_index(whole_word):
    masking, rows = made_masking(whole_word=whole_word), made_rows(40, shortest=20)
    mask = jax.jit(masking.mask_tokens_by_index)
    index = np.arange(100, 140, dtype=np.int32)
    whole = jax.device_get(mask(5, index, rows))
    order = np.random.default_rng(0).permutation(40)
    for some in (order[:7], order):
        part = mask(5, index[some], rows[some])
        for name, values in whole.items():
            np.testing.assert_array_equal(part[name], values[some])
    over_devices = mask(5, *jax.device_put((index, rows), batch_sharding(make_mesh())))
    assert len(over_devices["positions"].sharding.device_set) == 8
    jax.tree.map(np.testing.assert_array_equal, over_devices, whole)
    for other in (mask(6, index, rows), mask(5, index + 40, rows)):
        assert (other["positions"] != whole["positions"]).any(1).mean() > 0.8


def test_masks_by_index_are_the_same_whatever_random_numbers_training_uses():
    rows, index = made_rows(10), np.arange(10)
    expected = jax.jit(made_masking().mask_tokens_by_index)(5, index, rows)
    with jax.default_prng_impl("rbg"):
        masked = jax.jit(made_masking().mask_tokens_by_index)(5, index, rows)
    jax.tree.map(np.testing.assert_array_equal, masked, expected)


def test_whole_words_are_chosen_together_until_none_fits():
    rows = made_rows(400, shortest=10)
    masked = masked_rows(made_masking(whole_word=True, rate=0.2), rows)
    chosen = chosen_places(masked, LENGTH)
    full_words = 0
    for row, here in zip(rows, chosen, strict=True):
        words = words_of(row)
        budget = min(round(0.2 * sum(map(len, words))), 6)
        assert 0 < here.sum() <= budget
        if min(map(len, words)) > budget:
            continue
        left_out = [word for word in words if not here[word].any()]
        assert all(here[word].all() for word in words if word not in left_out)
        assert all(len(word) > budget - here.sum() for word in left_out)
        full_words += sum(len(word) > 1 for word in words) - sum(len(w) > 1 for w in left_out)
    assert full_words > 100


def test_each_word_is_as_likely_as_any_other():
    rows = np.stack([made_row([7, 30, 31] * 10)] * 4000)
    masked = masked_rows(made_masking(whole_word=True, rate=0.2), rows)  # Two of ten words.
    often = chosen_places(masked, LENGTH)[:, 1:-1].mean(0)
    np.testing.assert_allclose(often, 0.2, atol=0.03)


def test_a_word_longer_than_the_budget_is_cut_only_where_no_word_fits():
    long_word = [7, *range(25, 40)]
    only_long = made_row(long_word + long_word[:12])
    with_short = made_row([8, *long_word, 9])
    rows = np.stack([only_long] * 50 + [with_short] * 50)
    chosen = chosen_places(masked_rows(made_masking(whole_word=True), rows), LENGTH)
    starts = {tuple(np.flatnonzero(row)) for row in chosen[:50]}
    assert starts == {(1, 2, 3, 4), (17, 18, 19, 20)}
    assert {tuple(np.flatnonzero(row)) for row in chosen[50:]} == {(1, 18)}


def test_a_row_may_begin_within_a_word_and_a_special_ends_one():
    row = np.array([30, 31, 7, 3, 32, 33, 4, 34], np.int32)
    masking = made_masking(whole_word=True, rate=0.3)  # Two of six.
    chosen = chosen_places(masked_rows(masking, np.stack([row] * 200)), 8)
    assert {tuple(np.flatnonzero(row)) for row in chosen} == {(0, 1), (2, 7), (4, 5)}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rate": 0.0}, "rate is 0.0; it must be above 0"),
        ({"mask_share": 0.95}, "add up to more than 1"),
        ({"random_share": -0.1}, "not be negative"),
        ({"num_slots": 0}, "num_slots is 0"),
        ({"mask_id": 40}, "do not fit a vocabulary of 40 tokens"),
        ({"special_ids": range(40)}, "every token of the vocabulary is a special one"),
        ({"whole_word": True, "continuation": None}, "which of its 40 tokens go on a word"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(made_masking(), **changes)
