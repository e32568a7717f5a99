"""Tables in Markdown."""

from mlp_core.runs.tables import markdown_table


def test_no_cell_ends_its_row_or_moves_the_cursor():
    table = markdown_table(["a|b", "c"], [["1\n2", "x | y"], ["\x1b[31m", r"\\|"]])
    assert table.splitlines() == [
        r"| a\|b | c |",
        "| --- | --- |",
        r"| 1 2 | x \| y |",
        r"| \x1b[31m | \\| |",
    ]
