from mlp_core.runs.tables import differ_in_seed_only, seed_groups

RATE = "schedule.peak_learning_rate"


def test_points_that_differ_in_their_seeds_only_are_told_from_others():
    assert differ_in_seed_only([{"seed": 0, RATE: 0.1}, {"seed": 1, RATE: 0.1}])
    assert not differ_in_seed_only([{"seed": 0, RATE: 0.1}, {"seed": 1, RATE: 0.2}])
    assert not differ_in_seed_only([{"seed": 0}])
    assert not differ_in_seed_only([{RATE: 0.1}, {RATE: 0.2}])


def test_groups_hold_two_and_more_points_that_differ_in_their_seeds_only():
    points = [{RATE: rate, "seed": seed} for rate, seed in [(1, 0), (2, 0), (1, 1), (3, 0), (2, 1)]]
    assert seed_groups(points) == [[0, 2], [1, 4]]
