"""Files of figures: whole, new, and equal where the figures are."""

import re
from xml.etree import ElementTree

import pytest

from mlp_core.errors import UserError
from mlp_core.process.console import in_one_line
from mlp_core.process.figure_files import check_blocks, figure_text, new_figure, styled, write


def figure():
    with styled():
        made = new_figure(1)
        made.subplots().plot([0, 1], [2, 3], label="x")
    return made


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_equal_figures_give_equal_files_and_leave_nothing_else(tmp_path, suffix):
    one, other = tmp_path / f"deep/one{suffix}", tmp_path / f"deep/other{suffix}"
    write(figure(), one)
    write(figure(), other)
    assert one.read_bytes() == other.read_bytes()
    assert sorted(one.parent.iterdir()) == [one, other]


def test_text_in_svg_stays_text_and_is_of_seven_points_or_more(tmp_path):
    write(figure(), tmp_path / "x.svg")
    sizes = re.findall(r"font-size: ([\d.]+)px", (tmp_path / "x.svg").read_text())
    assert len(sizes) > 4 and min(map(float, sizes)) >= 7


def test_a_figure_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "x.png").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write(figure(), tmp_path / "x.png" / "z.png")


HOSTILE = [
    "$x",
    "a$b$c",
    "$\\frac{$",
    "\\$",
    "_x",
    "x^{",
    "100 %",
    "a\nb",
    "\x1b[31m",
    "\udcff",
    "中",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_names_of_all_kinds_are_shown_as_they_are(tmp_path, name, suffix):
    with styled():
        made = new_figure(2)
        axes = made.subplots()
        axes.plot([0, 1], [2, 3], label=figure_text(name))
        axes.set(title=figure_text(name), xlabel=figure_text(name))
        axes.set_xticks([0], [figure_text(name)])
        assert [text.get_text() for text in axes.legend().get_texts()]
    write(made, tmp_path / f"x{suffix}")
    if suffix == ".svg":
        texts = ElementTree.parse(tmp_path / "x.svg").iter("{http://www.w3.org/2000/svg}text")
        assert [text.text.strip() for text in texts].count(in_one_line(name)) == 4


def test_characters_that_the_font_lacks_cost_one_note(tmp_path, capsys, recwarn):
    with styled():
        made = new_figure(1)
        made.suptitle("中文 \N{GRINNING FACE}")
    write(made, tmp_path / "x.png")
    (note,) = capsys.readouterr().err.splitlines()
    assert "lacks 2 of the characters" in note and (tmp_path / "x.png").is_file()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


@pytest.mark.parametrize(
    "blocks, sentence",
    [([0, 3], "no block 3; name some of 0 to 2"), ([-1], "no block -1"), ([], "no block is named")],
)
def test_blocks_that_a_model_does_not_have_are_named(blocks, sentence):
    check_blocks("run", [0, 2], 3)
    with pytest.raises(UserError, match=f"run: .*{sentence}"):
        check_blocks("run", blocks, 3)
