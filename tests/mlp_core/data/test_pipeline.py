import itertools
import multiprocessing

import numpy as np
import pytest

from mlp_core.data.pipeline import TrainOrder, eval_batches, train_batches
from mlp_core.data.sources import ArraySource

SOURCE = ArraySource({"label": np.arange(10)})


def labels(first_step, total_steps, seed=0, batch=4):
    batches = train_batches(SOURCE, batch, seed, first_step, total_steps)
    return [list(b["label"]) for b in batches]


def test_a_run_that_goes_on_sees_the_batches_it_would_have_seen():
    whole = labels(0, 12)
    assert len(whole) == 12
    for first in (1, 5, 11):
        assert labels(first, 12) == whole[first:]


def test_every_epoch_visits_each_example_once_in_an_order_of_its_own():
    seen = list(itertools.chain(*labels(0, 10)))  # Four epochs; batches straddle them.
    epochs = [seen[i : i + 10] for i in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_seed_settles_the_order():
    assert labels(0, 5, seed=1) == labels(0, 5, seed=1) != labels(0, 5, seed=2)


def test_a_batch_may_be_larger_than_the_data_set():
    batch = TrainOrder(num_examples=3, global_batch_size=8, seed=0).batch(1)  # 8 to 15.
    counts = np.bincount(batch, minlength=3)
    assert counts.sum() == 8 and counts.min() >= 2


@pytest.mark.parametrize("batch", [1, 3, 4, 10, 16])
def test_evaluation_sees_every_example_exactly_once(batch):
    seen = []
    for b in eval_batches(SOURCE, batch):
        assert len(b["label"]) == len(b["mask"]) == batch
        seen += list(b["label"][b["mask"] == 1])
    assert seen == list(range(10))


class Draws(ArraySource):
    """Gives back what it was asked for."""

    def gather(self, indices, draws=None):
        return {"index": indices, "draw": draws}


def test_training_draws_count_through_the_endless_order():
    whole = list(train_batches(Draws({"label": np.arange(10)}), 4, 0, 0, 6))
    draws = np.concatenate([batch["draw"] for batch in whole])
    assert draws.dtype == np.int64 and list(draws) == list(range(24))
    later = next(train_batches(Draws({"label": np.arange(10)}), 4, 0, 5, 6))
    for name in ("index", "draw"):
        np.testing.assert_array_equal(later[name], whole[5][name])


class ThirdIsBad(ArraySource):
    def gather(self, indices, draws=None):
        return super().gather(indices) | {"mask": (indices != 3).astype(np.float32)}


@pytest.mark.parametrize("batch", [3, 4])
def test_what_a_source_cannot_read_is_masked_besides_the_padding(batch):
    source = ThirdIsBad({"label": np.arange(10)})
    seen = [label for b in eval_batches(source, batch) for label in b["label"][b["mask"] == 1]]
    assert seen == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_features_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="same"):
        ArraySource({"a": np.zeros(3), "b": np.zeros(4)})


def test_workers_are_not_started_where_they_have_nothing_to_do():
    batches = train_batches(SOURCE, 4, 0, 0, 12, num_workers=2)
    assert list(next(batches)["label"]) == labels(0, 1)[0]
    assert not multiprocessing.active_children()
    batches.close()
