"""Units are shown from low to high frequency, beside their inverses."""

import numpy as np
import pytest

from mlp_vision.tools.figures import in_pairs, mean_frequency

GRID = 16


def wave(cycles, phase=0.0, across=True):
    line = np.cos(2 * np.pi * cycles * np.arange(GRID) / GRID + phase)
    return np.broadcast_to(line if across else line[:, None], (GRID, GRID))


def test_the_frequency_of_a_wave_is_its_cycles_a_patch_whatever_its_direction_and_size():
    units = np.stack([wave(1), 5 * wave(3), wave(3, across=False), np.ones((GRID, GRID))])
    assert mean_frequency(units) == pytest.approx([1 / 16, 3 / 16, 3 / 16, 0], abs=1e-9)
    assert mean_frequency(np.zeros((1, GRID, GRID))) == [0]


def test_low_frequencies_come_first_each_with_its_inverse():
    units = [wave(5), wave(2, 0.4), wave(1), -wave(5), -2 * wave(1), -wave(2, 0.4)]
    assert in_pairs(np.stack(units)).tolist() == [2, 4, 1, 5, 0, 3]


def test_every_unit_is_shown_once_an_odd_one_last():
    units = np.random.default_rng(0).standard_normal((7, GRID, GRID))
    assert sorted(in_pairs(units)) == list(range(7))
    assert in_pairs(np.stack([wave(3), wave(1), -wave(1)])).tolist() == [1, 2, 0]
