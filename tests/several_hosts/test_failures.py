"""What one host fails with ends all, soon and with a sentence."""

import fcntl
import re
import signal

import pytest

from tests.mlp_vision.data.made_photos import write_folder
from tests.several_hosts.processes import ends_of, free_address, start, start_pair, start_workers
from tests.several_hosts.worker import make_run

DIGITS = ["launch/main.py", "--config=configs/mixer_digits.py:smoke"]


def assert_told_or_cut_off(end, status, sentence):
    """Gloo, by which CPUs talk, may abort a process when another leaves in mid-sentence."""
    if end.status == -signal.SIGABRT:
        assert "gloo" in end.err
    else:
        assert end.status == status
        assert len(end.errors) == 1 and end.errors[0].startswith(sentence), end


@pytest.mark.slow
@pytest.mark.parametrize("host", [0, 1])
def test_an_error_in_mid_training_is_told_on_all_hosts(tmp_path, host):
    run = {"workdir": str(tmp_path), "fails_at": 6, "host": host}
    ends = ends_of(start_workers(2, 4, run))
    sentence = "/data: the disk is broken."
    assert ends[host].status == 2 and len(ends[host].errors) == 1
    assert ends[host].errors[0].startswith(f"error: {sentence}")
    assert_told_or_cut_off(ends[1 - host], 2, f"error: host {host}: {sentence}")
    assert (tmp_path / "checkpoints" / "4").is_dir()


@pytest.mark.slow
def test_a_fault_of_the_program_has_its_traceback_on_its_host_only(tmp_path):
    run = {"workdir": str(tmp_path), "fails_at": 6, "host": 1, "way": "fault"}
    first, second = ends_of(start_workers(2, 4, run))
    sentence = "RuntimeError: /data: the disk is broken."
    assert_told_or_cut_off(first, 1, f"error: host 1: {sentence}")
    assert second.errors == ["Traceback (most recent call last):", f"error: {sentence}"]
    assert second.status == 1


@pytest.mark.slow
def test_sigterm_to_one_host_has_all_save_the_same_step_and_end(tmp_path):
    changes = {"train.duration": "400 steps", "checkpoint.every": "400 steps"}
    run = {"workdir": str(tmp_path), "changes": changes, "fails_at": 6, "host": 1, "way": "sigterm"}
    ends = ends_of(start_workers(2, 4, run))
    assert [end.status for end in ends] == [75, 75], ends
    saved = [re.search(r"ended by SIGTERM; step (\d+) is saved", end.err)[1] for end in ends]
    assert saved[0] == saved[1] and (tmp_path / "checkpoints" / saved[0]).is_dir()


LONG = {"train.duration": "400 steps", "checkpoint.every": "4 steps"}
SAVING = ("the first step", "an evaluation", "a save")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["restoring", "compilation", *SAVING])
def test_a_resumed_run_ends_by_a_signal_wherever_it_strikes(tmp_path, place):
    run = {"workdir": str(tmp_path), "changes": LONG}
    make_run(**run, stops_at=10)
    number = signal.SIGHUP if place == "a save" else signal.SIGTERM
    host = 0 if place == "the first step" else 1
    ends = ends_of(
        start_workers(2, 4, run | {"signalled_in": place, "number": number, "host": host})
    )
    assert place == "restoring" or "Start: goes on from step 8" in ends[0].out
    assert_ended_by(number, ends, host)
    assert_saved_alike(ends, tmp_path / "checkpoints", may_save_nothing=place not in SAVING)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["compilation", "the first step", "a save"])
def test_a_new_run_ends_by_a_signal_wherever_it_strikes(tmp_path, place):
    run = {"workdir": str(tmp_path), "changes": LONG, "signalled_in": place, "host": 1}
    ends = ends_of(start_workers(2, 4, run))
    assert_ended_by(signal.SIGTERM, ends, host=1)
    assert_saved_alike(ends, tmp_path / "checkpoints", may_save_nothing=place == "compilation")


def assert_ended_by(number, ends, host):
    assert [end.status for end in ends] == [75, 75], ends
    assert f"ended by {signal.Signals(number).name}" in ends[host].err
    assert not any("Traceback" in end.err for end in ends), ends


def assert_saved_alike(ends, checkpoints, may_save_nothing):
    saved = {step for end in ends for step in re.findall(r"step (\d+) is saved", end.err)}
    assert len(saved) == 1 or (may_save_nothing and not saved), ends
    for step in saved:
        assert all(f"step {step} is saved" in end.err for end in ends)
        assert (checkpoints / step).is_dir()


@pytest.mark.slow
def test_the_others_end_when_one_is_killed(tmp_path):
    run = {"workdir": str(tmp_path), "fails_at": 6, "host": 1, "way": "killed"}
    first, second = ends_of(start_workers(2, 4, run))
    assert second.status == -signal.SIGKILL
    gone = ("error: another host is gone", "error: host 1: no sign of life for ")
    assert_told_or_cut_off(first, 75, gone)


def assert_both_refuse(processes, sentence):
    ends = ends_of(processes)
    assert [end.status for end in ends] == [2, 2]
    assert all(sentence in end.err and len(end.errors) == 1 for end in ends), ends


@pytest.mark.slow
def test_hosts_with_another_config_or_folder_are_refused_on_all(tmp_path):
    here, there = (f"--workdir={tmp_path / name}" for name in ("here", "there"))
    other_seed = start_pair([*DIGITS, here], ["--config.seed=1"])
    other_folder = start_pair([*DIGITS, here], [there])
    assert_both_refuse(other_seed, "config.seed: 0 there, 1 here")
    assert_both_refuse(other_folder, "host 1 does not see there what host 0 writes")


@pytest.mark.slow
def test_what_the_first_host_meets_before_training_ends_all(tmp_path, data_dir):
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        run, places = [*DIGITS, f"--workdir={tmp_path}"], {"TFDS_DATA_DIR": data_dir}
        locked = start_pair(run, **places)
        without_data = start_pair([*run, "--config.data.name=no_such_set"], **places)
        assert_both_refuse(locked, "another run is at work there")
        assert_both_refuse(without_data, "the data set 'no_such_set' is not prepared")


def test_a_host_that_does_not_come_is_not_waited_for_forever(tmp_path):
    run = [*DIGITS, f"--workdir={tmp_path}", "--num_processes=2", "--start_limit=5"]
    nobody, alone = free_address(), free_address()
    second, first = ends_of(
        [
            start([*run, f"--coordinator_address={nobody}", "--process_id=1"], 1),
            start([*run, f"--coordinator_address={alone}", "--process_id=0"], 1),
        ]
    )
    assert (first.status, second.status) == (75, 75)
    assert first.errors[0].startswith("error: not all 2 processes have come in 5 s")
    assert f"by the flags at {nobody}, has not answered in 5 s" in second.errors[0]
    assert len(first.errors) == len(second.errors) == 1


def start_on(homes, command, *more_flags):
    """Starts a command on two hosts, with each host's own folder under one path, ~/images."""
    address = free_address()
    flags = [
        *(f"launch/{command}.py", "--config=configs/mixer_digits.py:smoke", *more_flags),
        *("--config.data.name=~/images", "--config.data.train_split=train"),
        *("--config.data.eval_splits.validation=test", "--config.data.eval_splits.test=test"),
        *("--config.data.image_size=16", "--config.model.patch_size=8"),
        *("--config.train.duration=2 epochs", "--config.train.global_batch_size=8"),
        *("--config.evaluation.global_batch_size=8", "--config.model.num_blocks=1"),
        *(f"--coordinator_address={address}", "--num_processes=2"),
    ]
    return [start([*flags, f"--process_id={i}"], 4, HOME=str(home)) for i, home in enumerate(homes)]


@pytest.mark.slow
def test_hosts_that_see_other_images_or_weights_are_refused_before_compiling(tmp_path):
    homes = [tmp_path / f"host{i}" for i in range(4)]
    _, fewer, exchanged, same = (write_folder(home / "images") / "train" for home in homes)
    (fewer / "cat" / "3.jpg").unlink()
    for old, new in (("cat", "x"), ("dog", "cat"), ("x", "dog")):
        (exchanged / old).rename(exchanged / new)
    weights, where = tmp_path / "run", f"--workdir={tmp_path / 'run'}"
    for other in (fewer, exchanged):
        trained_on_two = start_on([homes[0], other.parent.parent], "main", where)
        assert_both_refuse(trained_on_two, 'config.data.train_split: "24 examples')
    assert not (weights / "checkpoints").exists()
    ends = ends_of(start_on([homes[0], homes[3]], "main", where))
    assert [end.status for end in ends] == [0, 0], ends
    # The same in evaluation, where the test images differ.
    (same.parent / "test" / "cat" / "3.jpg").unlink()
    evaluate = start_on([homes[0], homes[3]], "evaluate", f"--weights={weights}")
    assert_both_refuse(evaluate, "split test: host 1 reads other content than host 0")
