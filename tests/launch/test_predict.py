"""What predictions print."""

from launch import predict


def test_names_of_classes_cannot_move_the_cursor_or_add_lines(capsys):
    predict._print_shares([("cat\x1b[2J\n 99.00 %  dog\u202e", 0.5), ("Füchse 狐", 0.25)])
    assert capsys.readouterr().out.splitlines() == [
        r"   50.00 %  cat\x1b[2J\n 99.00 %  dog\u202e",
        "   25.00 %  Füchse 狐",
    ]
