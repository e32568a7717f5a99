import collections
import dataclasses
from collections.abc import Callable, Sequence

import pytest

from mlp_core.distributed.mesh import make_mesh
from mlp_core.errors import UserError
from mlp_core.nn.parameters import count
from mlp_core.planning.chips import CHIPS
from mlp_core.planning.hlo import ProgramCost
from mlp_core.planning.planner import EVALUATION, STEPS, TRAIN, Trial, remedies
from mlp_core.planning.plans import open_planner, sweep
from mlp_core.planning.report import (
    Target,
    describe,
    figures,
    heading,
    table_head,
    table_row,
)
from mlp_core.planning.step_cost import StepCost
from mlp_core.train.programs import make_programs
from mlp_vision.tasks.planning import planned_run
from tests.mlp_core.planning.small_run import small_config, small_planner

EIGHT_CPUS = Target("cpu", 8, "cpu", "JAX", None, None)


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    return small_planner(tmp_path_factory.mktemp("data")).compiled()


def parameters_of(trial):
    programs = make_programs(trial.run.task, trial.run.settings, trial.run.plan(), make_mesh())
    return count(programs.abstract_state.params)


def test_memory_is_told_by_kind(trial):
    memory = trial.costs[TRAIN].memory
    assert memory["parameters"] == memory["optimizer"] - 4 == 4 * parameters_of(trial)
    assert memory["batch"] == 64 / 8 * (8 * 8 * 3 + 4)
    assert memory["activations"] > 0 and trial.fits
    assert trial.costs[EVALUATION].memory["batch"] == 64 / 8 * (8 * 8 * 3 + 4 + 4)
    assert "optimizer" not in trial.costs[EVALUATION].memory


def test_gradients_are_summed_over_devices_once(trial):
    sent = trial.costs[TRAIN].program.bytes_sent["all-reduce"]
    assert 2 * 4 * parameters_of(trial) == pytest.approx(sent, rel=0.01)


def test_training_takes_three_times_the_products_of_evaluation(trial):
    ratio = trial.costs[TRAIN].flops / trial.costs[EVALUATION].flops
    assert 2.7 < ratio < 3


def test_a_split_state_takes_less_of_each_device(trial, tmp_path):
    split = small_planner(tmp_path, steps=[TRAIN]).tried({"sharding.layout": "fsdp"})
    assert split.costs[TRAIN].memory["parameters"] < 0.5 * trial.costs[TRAIN].memory["parameters"]
    assert "all-gather" in split.costs[TRAIN].program.bytes_sent


def test_a_change_that_cannot_be_is_told(tmp_path):
    planner = small_planner(tmp_path)
    trial = planner.tried({"train.global_batch_size": 100})
    assert not trial.fits and "global_batch_size: 100 examples do not split" in trial.problem
    with pytest.raises(UserError, match="100 examples do not split"):
        planner.compiled({"train.global_batch_size": 100})


def test_a_plan_is_told_in_words_figures_and_rows(trial, tmp_path):
    text = describe(trial, EIGHT_CPUS)
    assert "mixer on digits: " in text and "64 images, 8 a device" in text
    assert "Whole run: 1,000 steps, 64,000 images" in text
    told = figures(trial, EIGHT_CPUS)
    assert told["run"] == {"steps": 1000, "examples": 64_000, "paper_core_days": None}
    assert "seconds" not in told[TRAIN]  # A CPU's compiler says nothing of cycles.
    head = table_head(["train.remat"], TRAIN, "images", EIGHT_CPUS).splitlines()[0]
    row = table_row(dataclasses.replace(trial, changes={"train.remat": "none"}), TRAIN, EIGHT_CPUS)
    assert head.count("|") == row.count("|") and row.startswith("| none | 0.0")


def planned_on(generation, tmp_path):
    """The heading, the plan in words and its figures, of a step of 3,000 cycles."""
    chip = next(chip for chip in CHIPS if chip.generation == generation)
    program = ProgramCost(
        collections.Counter({"jit(f)/Mixer/stem/dot_general": 2000}),
        collections.Counter({"all-reduce": 1e6}),
        waiting_cycles=1000,
        uncounted_loops=0,
    )
    flops = 500 / chip.clock * chip.peak_flops  # In 500 cycles at peak.
    run = planned_run(small_config(tmp_path), None, "tpu")
    trial = Trial({}, run, {TRAIN: StepCost(0, flops, {}, True, program)})
    target = Target(f"{generation}:2x2", 4, chip.device_kind, "libtpu", chip, chip.hbm_bytes)
    row = table_row(trial, TRAIN, target)
    head = table_head([], TRAIN, "images", target).splitlines()[0]
    assert head.count("|") == row.count("|")
    return heading(target), describe(trial, target), figures(trial, target), chip


def test_waiting_for_collectives_is_part_of_the_step_and_of_the_whole_run(tmp_path):
    top, text, told, chip = planned_on("v3", tmp_path)
    assert told[TRAIN]["seconds"] == pytest.approx(3000 / chip.clock)
    assert told[TRAIN]["waiting_seconds"] == pytest.approx(1000 / chip.clock)
    assert told["run"]["core_days"] == pytest.approx(4 * 1000 * 3000 / chip.clock / 86_400)
    assert "MLP-Mixer measured" in top and "at least" not in text


def test_a_chip_whose_cycles_are_not_to_be_trusted_gets_a_lower_bound(tmp_path):
    top, text, told, chip = planned_on("v6e", tmp_path)
    assert "not to be trusted" in top and text.count("at least") == 2
    assert told[TRAIN]["least_seconds"] == pytest.approx(1500 / chip.clock)
    assert told["run"]["least_chip_days"] == pytest.approx(4 * 1000 * 1500 / chip.clock / 86_400)
    assert not told[TRAIN]["seconds_are_trusted"]


def test_an_unknown_step_or_field_is_refused(tmp_path):
    config = small_config(tmp_path)
    with pytest.raises(UserError, match="there is no step 'trian'; choose from train, evaluation"):
        open_planner(config, planned_run, None, "cpu", ["trian"])
    with pytest.raises(UserError, match="--sweep=train.bacth=1: there is no field"):
        sweep(small_planner(tmp_path), EIGHT_CPUS, ["train.bacth=1"])


@dataclasses.dataclass(frozen=True)
class MadeUpPlanner:
    """A planner whose trials need what `gib` makes of their changes, of 16 GiB."""

    run: object
    gib: Callable[[dict], float]
    steps: Sequence[str] = STEPS

    def tried(self, changes):
        if changes.get("train.grad_accum_steps", 1) > 8:
            return Trial(changes, problem="does not split")
        fits = self.gib(changes) <= 16
        return Trial(changes, self.run, {TRAIN: StepCost(0, 0, {}, fits, None, self.gib(changes))})


def tried_remedies(tmp_path, gib):
    run = planned_run(small_config(tmp_path), None, "tpu")
    attempts = remedies(MadeUpPlanner(run, gib), Trial({}, run))
    return [(tuple(attempt.changes.values()), attempt.fits) for attempt in attempts]


def test_remedies_are_tried_one_by_one(tmp_path):
    def gib(changes):
        activations = 40 / changes.get("train.grad_accum_steps", 1)
        return {"blocks": 8}.get(changes.get("train.remat"), activations)

    assert tried_remedies(tmp_path, gib) == [
        (("dots",), False),
        (("blocks",), True),
        (("fsdp",), False),
        ((2,), False),
        ((4,), True),
    ]


def test_remedies_are_tried_together_where_none_is_enough(tmp_path):
    def gib(changes):
        state = 6 if "sharding.layout" in changes else 20
        activations = 40 if "train.remat" in changes else 100
        return state + activations / changes.get("train.grad_accum_steps", 1)

    assert tried_remedies(tmp_path, gib)[3:] == [
        ((2,), False),
        ((4,), False),
        ((8,), False),
        (("blocks", "fsdp"), False),
        (("blocks", "fsdp", 2), False),
        (("blocks", "fsdp", 4), True),
    ]
