"""The flags of probes."""

import pytest

from launch.probe import numbers_of_shots
from mlp_core.errors import UserError


def test_shots_are_numbers_above_zero():
    assert numbers_of_shots(["1", "025"]) == [1, 25]
    for text in ("", "0", "-1", "1.5", "a", "\u0661", "9" * 5000):
        with pytest.raises(UserError, match="is no number of examples"):
            numbers_of_shots([text])
