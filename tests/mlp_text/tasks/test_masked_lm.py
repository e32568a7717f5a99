"""The task: losses and metrics over the masked tokens, whatever the batches they come in."""

import dataclasses

import jax
import numpy as np
import pytest

from mlp_core.distributed.mesh import make_mesh, replicated
from mlp_core.errors import UserError
from mlp_core.train.evaluation import evaluate
from mlp_text.tasks.masked_lm import MaskedLanguageModelling, unigram_perplexity
from tests.mlp_core.train.test_step import assert_close, train
from tests.mlp_text.data.made_text import (
    LENGTH,
    PAD,
    SPECIAL,
    VOCAB_SIZE,
    TinyMaskedLm,
    made_masking,
    made_row,
    made_rows,
    made_source,
)

RNG = jax.random.key(0)
SEED = 7
NUM_ROWS = 45


def made_task(rows=None, eval_source=None, **changes) -> MaskedLanguageModelling:
    """Long and short rows in turn, so that micro-batches differ in what they ask for."""
    if rows is None:
        rows = made_rows(64, shortest=25)
        rows[1::2] = made_rows(32, longest=6)
    source = made_source(rows)
    return MaskedLanguageModelling(
        model=TinyMaskedLm(),
        masking=made_masking(**changes),
        pad_id=PAD,
        max_length=LENGTH,
        train_source=source,
        eval_sources={"validation": eval_source or source},
        eval_seed=SEED,
    )


def eval_rows():
    """Rows to evaluate on, and which of them can be read."""
    readable = np.ones(NUM_ROWS, np.float32)
    readable[[3, 20, 44]] = 0
    rows = made_rows(NUM_ROWS, seed=1)
    rows[rows > 30] = 30
    return rows, readable


def by_hand(task, params, rows, readable):
    """Cross-entropies and right answers of all masked tokens, row by row, in float64."""
    losses, right = [], []
    mask = jax.jit(task.masking.mask_tokens_by_index)
    apply = jax.jit(lambda *inputs, positions: task.model.apply(*inputs, positions=positions))
    for index in np.flatnonzero(readable):
        row = rows[index : index + 1]
        masked = mask(SEED, np.array([index]), row)
        logits = apply(
            {"params": params},
            masked["input_ids"],
            (row != PAD).astype(np.uint8),
            None,
            positions=masked["positions"],
        )
        for slot in np.flatnonzero(masked["weights"][0]):
            scores = np.asarray(logits[0, slot], np.float64)
            target = int(masked["targets"][0, slot])
            losses.append(np.log(np.exp(scores).sum()) - scores[target])
            right.append(scores.argmax() == target)
    return np.array(losses), np.array(right)


@pytest.fixture(scope="module")
def params():
    """Random parameters that like token 30."""
    params = jax.jit(made_task().init_params)(RNG)
    params = jax.tree.map(lambda leaf: 3 * leaf, params)
    params["output"]["bias"] = params["output"]["bias"].at[30].add(5.0)
    return params


def test_evaluation_is_exact_for_any_batch_size(params):
    rows, readable = eval_rows()
    task = made_task(eval_source=made_source(rows, mask=readable))
    losses, right = by_hand(task, params, rows, readable)
    assert 0 < right.mean() < 1 and losses.std() > 0.5
    expected = {
        "loss": losses.mean(),
        "perplexity": np.exp(losses.mean()),
        "masked_accuracy": right.mean(),
    }
    eval_step = jax.jit(task.evaluate)
    for batch_size in (8, 40):
        source = task.eval_sources["validation"]
        results = evaluate(eval_step, params, "validation", source, batch_size, make_mesh())
        assert results == pytest.approx(expected, rel=1e-5)


def test_training_loss_is_the_mean_over_the_masked_tokens(params):
    task = made_task()
    rows = task.train_source.gather(np.arange(64))["input_ids"]
    batch = jax.jit(task.augment)({"input_ids": rows}, RNG)
    loss, scalars = jax.jit(task.loss)(params, batch, RNG)
    masked = jax.jit(task.masking.mask_tokens)(RNG, rows)
    logits = task.model.apply(
        {"params": params}, masked["input_ids"], rows != PAD, None, positions=masked["positions"]
    )
    losses = -jax.nn.log_softmax(logits)
    losses = np.take_along_axis(np.asarray(losses), masked["targets"][..., None], -1)[..., 0]
    used = np.asarray(masked["weights"]) > 0
    assert loss == pytest.approx(losses[used].mean(), rel=1e-5)
    right = np.asarray(logits.argmax(-1) == masked["targets"])
    assert scalars["masked_accuracy"] == pytest.approx(right[used].mean(), rel=1e-5)


@pytest.mark.parametrize("devices, grad_accum_steps", [(1, 4), (8, 2)])
def test_micro_batches_and_devices_give_the_update_of_one_big_batch(devices, grad_accum_steps):
    task = made_task()
    whole, scalars = train(task, batch_size=64)
    parts, part_scalars = train(
        task, batch_size=64, devices=devices, grad_accum_steps=grad_accum_steps
    )
    assert_close(parts.params, whole.params)
    assert_close(part_scalars, scalars)


def test_only_pads_are_kept_from_attention():
    task = made_task()
    batch = task.train_source.gather(np.arange(64))
    augmented = jax.jit(task.augment)(batch, RNG)
    np.testing.assert_array_equal(augmented["attention_mask"], batch["input_ids"] != PAD)
    assert (augmented["input_ids"] != batch["input_ids"]).any()


def test_batches_without_an_ordinary_token_have_no_loss(params):
    task = made_task(np.stack([made_row([])] * 8))
    # Not jitted: the compiler may turn a product with 0 into a choice and hide a division by 0.
    batch = task.augment(task.train_source.gather(np.arange(8)), RNG)
    loss, grads = jax.jit(jax.value_and_grad(lambda p: task.loss(p, batch, RNG)[0]))(params)
    assert loss == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads))


def test_the_model_learns_and_does_better_than_the_unigrams():
    """Each row repeats one token, so that what is hidden can be told from what is not."""
    rows = np.stack([made_row([token] * 20) for token in range(8, VOCAB_SIZE)] * 2)
    task = made_task(rows)
    state, _ = train(task, steps=200, batch_size=64)
    source = task.eval_sources["validation"]
    mesh = make_mesh()
    trained = jax.device_put(state.params, replicated(mesh))
    results = evaluate(jax.jit(task.evaluate), trained, "validation", source, 64, mesh)
    counts = np.bincount(rows.ravel(), minlength=VOCAB_SIZE)
    unigram = unigram_perplexity(counts, source, task.masking, SEED)
    assert unigram == pytest.approx((32 * 41 + 3) / 41)  # 32 tokens 40 times, 3 never; one added.
    assert results["perplexity"] < 2 and results["masked_accuracy"] > 0.9


def test_parameters_to_start_from_are_those_that_are_given(params):
    task = made_task()
    assert task.published_params() is None
    assert dataclasses.replace(task, start=lambda: params).published_params() is params


def test_more_slots_than_tokens_are_refused():
    with pytest.raises(UserError, match="num_slots is 33, but a row has only 32 tokens"):
        made_task(num_slots=33)


def test_unigram_perplexity_is_that_of_the_tokens_evaluation_asks_for():
    rows, readable = eval_rows()
    masking, source = made_masking(), made_source(rows, mask=readable)
    counts = np.random.default_rng(2).integers(0, 50, VOCAB_SIZE)
    masked = jax.device_get(jax.jit(masking.mask_tokens_by_index)(SEED, np.arange(NUM_ROWS), rows))
    used = (masked["weights"] > 0) & (readable[:, None] > 0)
    smoothed = (counts + 1)[len(SPECIAL) :]
    shares = smoothed / smoothed.sum()
    losses = [-np.log(shares[target - len(SPECIAL)]) for target in masked["targets"][used]]
    found = unigram_perplexity(counts, source, masking, SEED)
    assert found == pytest.approx(np.exp(np.mean(losses)), rel=1e-12)


def test_unigram_perplexity_goes_over_every_row_of_a_long_source():
    rows = np.stack([made_row([7])] * 1024 + [made_row([8])] * 512)
    counts = np.bincount([7, 8, 8, 8], minlength=VOCAB_SIZE)
    found = unigram_perplexity(counts, made_source(rows), made_masking(), SEED)
    total = 4 + VOCAB_SIZE - len(SPECIAL)
    expected = (2 * np.log(2 / total) + np.log(4 / total)) / 3
    assert found == pytest.approx(np.exp(-expected), rel=1e-12)
