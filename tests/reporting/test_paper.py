"""Figures keep their style when they are saved, and fit a paper's column."""

import re
from functools import partial

import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt

from ntkgap.errors import StoreError
from ntkgap.reporting.drawings import shown
from ntkgap.reporting.figures import legends_below, panels
from ntkgap.reporting.paper import fitted, set_title
from ntkgap.reporting.style import COLUMN, TEXT, style


@pytest.fixture
def figure():
    with style():
        figure, (ax,) = panels(1)
        set_title(ax, "MLP (3 hidden layers), digits")
        ax.plot([1, 2], [1, 2], "o-", lw=2, ms=5)
    yield figure
    plt.close(figure)


def drawn(n):
    figure, axes = panels(n)
    for ax in axes:
        ax.plot([1, 2], [1, 2], label="measured")
    legends_below(figure, axes)
    return figure


def fonts(pdf):
    return set(re.findall(rb"/Subtype /(Type3|Type42|TrueType|CIDFontType2)", pdf.read_bytes()))


def points_wide(pdf):
    found = re.search(rb"/MediaBox \[ 0 0 ([0-9.]+) ([0-9.]+) \]", pdf.read_bytes())
    return float(found[1])


def test_fonts_are_embedded_wherever_it_is_saved(figure, tmp_path):
    assert mpl.rcParams["pdf.fonttype"] == 3  # of matplotlib, as everywhere outside of the style
    figure.savefig(tmp_path / "a.pdf")
    figure.save(tmp_path / "b.pdf")
    for name in ("a.pdf", "b.pdf"):
        assert fonts(tmp_path / name) == {b"CIDFontType2"}


def test_it_is_drawn_anew_as_wide_as_a_column(figure, tmp_path):
    with pytest.raises(StoreError, match=r"cannot save the figure as 'a\.nothing'"):
        figure.save("a.nothing")
    with pytest.raises(StoreError, match="cannot save the figure"):
        figure.save(tmp_path / "no" / "a.pdf")

    open_before = plt.get_fignums()
    cases = ((1, {}, COLUMN), (2, {}, TEXT), (3, {"width": COLUMN}, COLUMN), (4, {"width": 5}, 5))
    for n, options, width in cases:
        saved = shown(partial(drawn, n))
        before = saved.get_size_inches().tolist()
        saved.save(tmp_path / "a.pdf", **options)
        assert points_wide(tmp_path / "a.pdf") == pytest.approx(72 * width, abs=0.1)
        assert saved.get_size_inches().tolist() == before
    assert plt.get_fignums() == open_before


def test_a_title_has_room_over_its_panel(figure):
    for n in (5, 60, 90, 400):
        set_title(figure.axes[0], "M" * n if n == 5 else "rotated digits, " * (n // 16))
        figure.canvas.draw()
        box = figure.axes[0].title.get_window_extent()
        assert box.x1 <= figure.bbox.x1
        assert figure.axes[0].title.get_text()
    assert figure.axes[0].title.get_text().endswith("…")


def test_texts_are_cut_only_where_no_letters_are_small_enough():
    assert fitted("short", 4.0, 9.0, 0.6) == ("short", 9.0)
    text, size = fitted("x" * 60, 4.0, 9.0, 0.6)
    assert text == "x" * 60
    assert size == pytest.approx(8.0)
    text, size = fitted("x" * 300, 4.0, 9.0, 0.6)
    assert (len(text), size) == (87, 5.5)
