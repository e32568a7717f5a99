import pytest

from mlp_core.errors import UserError
from mlp_core.process.files import lock, lock_in_turn


def test_who_waits_for_a_lock_is_told_and_does_not_wait_for_ever(tmp_path, capsys):
    path = tmp_path / "lock"
    with path.open("w") as one, path.open("w") as other:
        assert lock(one)
        with pytest.raises(UserError, match="lock: another process has been at it"):
            lock_in_turn(other, "prepares it", limit=0.3)
        assert capsys.readouterr().out == "Waits for another process that prepares it\n"
        one.close()
        lock_in_turn(other, "prepares it", limit=0.3)
        assert capsys.readouterr().out == ""
