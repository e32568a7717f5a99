"""The page, as a parser and as a browser see it."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mlp_core.reports.filled_tables import fill, other_runs
from mlp_core.reports.html_page import html_page
from mlp_core.reports.sections import sections
from tests.mlp_core.reports.chromium import browse
from tests.mlp_core.reports.tiny_runs import HOSTILE, model_costs, open_recipe, table

pytestmark = pytest.mark.slow  # Three runs are trained for it.

VOID = {"meta", "br", "link", "img"}
BENCHMARK = {"benchmark": "loop_overhead", "figures": {"images_per_second": {"median": 1234.5}},
             "device_kind": HOSTILE, "devices": 1, "cpus": 2, "jax": "0.10"}  # fmt: skip
# Tells in the document itself how wide it is, and how wide its window.
MEASURE = """<script>document.body.dataset.widths =
document.documentElement.scrollWidth + "/" + document.documentElement.clientWidth</script>"""


@pytest.fixture(scope="module")
def page(runs):
    filled = fill(table(), runs[0], open_recipe, model_costs)
    others = other_runs([filled], runs[0], open_recipe)
    return html_page(sections([filled], others, [BENCHMARK], runs[1]))


class Nesting(HTMLParser):
    """Checks that what is opened is closed, in order, and collects what could load something."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.loads = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing(page):
    parser = Nesting()
    parser.feed(page)
    assert parser.open == [] and parser.loads == []
    assert not {"script", "link", "img", "iframe"} & set(parser.tags)
    assert "url(" not in page and "@import" not in page
    assert page.count("&lt;script") == 2  # What came from a table and from a benchmark's line.


def test_a_browser_shows_the_tables_with_their_figures(page, tmp_path):
    file = tmp_path / "report.html"
    file.write_text(page)
    dom = browse(file, tmp_path / "profile", "--dump-dom")
    assert dom.count("<table>") == 4  # The paper's, other runs, benchmarks, left out.
    assert '<td class="figure">66.6</td>' in dom
    assert re.search(r'<td class="figure">55.5†<b>\d+\.\d+</b></td>', dom)
    assert "1234.5" in dom and "<script" not in dom


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_is_wider_than_the_window(page, tmp_path, width):
    frame = f'<iframe src="report.html" style="width:{width}px;height:900px;border:0"></iframe>'
    (tmp_path / "report.html").write_text(page.replace("</body>", MEASURE + "</body>"))
    # A window has a least width, a frame in it has not; and a frame's document is not dumped.
    asks = """<script>onload = () => { const w = frames[0].document.body;
    document.title = w.dataset.widths }</script>"""
    file = tmp_path / "frame.html"
    file.write_text(f"<!DOCTYPE html><title>none</title>{frame}{asks}")
    allowed = "--allow-file-access-from-files"
    dom = browse(file, tmp_path / "profile", "--dump-dom", allowed, "--window-size=1400,1000")
    scroll, client = re.search(r"<title>(\d+)/(\d+)</title>", dom).groups()
    assert int(scroll) <= int(client) <= width
    assert int(client) > width - 40


def test_a_browser_draws_something(page, tmp_path):
    file, picture = tmp_path / "report.html", tmp_path / "page.png"
    file.write_text(page)
    browse(file, tmp_path / "profile", f"--screenshot={picture}", "--window-size=800,1000")
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert pixels.shape == (1000, 800)
    assert 0.01 < (pixels < 128).mean() < 0.5 or 0.01 < (pixels > 128).mean() < 0.5
