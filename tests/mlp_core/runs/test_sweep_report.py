import numpy as np
import pytest
from PIL import Image

from mlp_core.runs.sweep_plot import plot
from mlp_core.runs.tables import Outcome, best_of, sweep_table

RATE = "schedule.peak_learning_rate"
GOOD = [Outcome({RATE: rate}, score) for rate, score in [(0.003, 0.5), (0.01, 0.7), (0.06, 0.7)]]
FAILED = Outcome({RATE: 1.0}, None, "step 3: the loss\nis nan | inf")


def test_the_best_has_the_highest_score_and_the_first_of_equals_wins():
    assert best_of([FAILED, *GOOD]) is GOOD[1]
    assert best_of([FAILED]) is None


def test_the_table_has_a_row_a_member_and_marks_the_best():
    lines = sweep_table([*GOOD, FAILED], "validation/top1").splitlines()
    assert lines[0] == f"| {RATE} | validation/top1 | remark |"
    assert lines[3] == "| 0.01 | 70.00 % | **best** |"
    assert lines[4] == "| 0.06 | 70.00 % |  |"
    assert lines[5] == r"| 1.0 |  | step 3: the loss is nan \| inf |"


def test_a_value_does_not_end_its_cell():
    outcome = Outcome({"augment.policy": "a|b\nc"}, 0.5)
    assert (
        sweep_table([outcome], "validation/top1").splitlines()[2]
        == r"| a\|b c | 50.00 % | **best** |"
    )


SEEDS = [Outcome({"seed": seed}, score) for seed, score in [(0, 0.8), (1, 0.9), (2, 0.85)]]


def test_runs_that_differ_in_the_seed_only_are_summed_up_below():
    rates = [
        Outcome({RATE: rate, "seed": seed}, score)
        for rate, seed, score in [(0.1, 0, 0.5), (0.1, 1, 0.6), (0.3, 0, 0.7), (0.3, 1, None)]
    ]
    lines = sweep_table(rates, "validation/top1").splitlines()
    assert lines[4] == "| 0.3 | 0 | 70.00 % | **best** |"
    assert lines[6:] == [
        "| 0.1 | median of 2 | 55.00 % | 50.00 % to 60.00 % |",
        "| 0.3 | median of 1 | 70.00 % | 70.00 % to 70.00 % |",
    ]
    lines = sweep_table(SEEDS, "validation/top1").splitlines()
    assert lines[3] == "| 1 | 90.00 % |  |"  # Luck is no merit.
    assert lines[5:] == ["| median of 3 | 85.00 % | 80.00 % to 90.00 % |"]


@pytest.mark.parametrize(
    "outcomes",
    [
        GOOD,
        [*GOOD, FAILED],
        [FAILED],
        SEEDS,
        [Outcome({"seed": 0, "warmup": w}, s) for w, s in [("1 epoch", 0.1), ("0", None)]],
        [Outcome({"blocks": None, RATE: 0.1}, 0.2), Outcome({"blocks": 2, RATE: 0.1}, 0.3)],
        [Outcome({"x": "$^{", "y": "中$"}, 0.2), Outcome({"x": "\\$_\n$", "y": "中$"}, 0.3)],
    ],
    ids=["scores", "one failed", "all failed", "seeds", "words", "unset", "signs"],
)
def test_every_kind_of_sweep_can_be_drawn(outcomes, tmp_path):
    plot(outcomes, "validation/top1", "a sweep for $^{$", tmp_path / "sweep.png")
    pixels = np.asarray(Image.open(tmp_path / "sweep.png").convert("RGB"))
    assert pixels.shape == (675, 1050, 3)
    coloured = np.ptp(pixels.astype(int), axis=-1) > 100  # Lines and marks; all else is grey.
    assert coloured.sum() > 100
