import math

import numpy as np
import pytest
from matplotlib import pyplot as plt

from ntkgap.reporting.scatter import scatter_figure
from ntkgap.reporting.style import style
from ntkgap.studies.figures import ScatterFigure
from tests.studies.cells import cell

SPEC = ScatterFigure("k", "t", "c", "x label", "y label", "a", "b", 0.5, 0.1, ("ul", "ur", "ll", "lr"))


@pytest.fixture
def drawn():
    cells = [
        cell(16, 0, a=2.0, b=0.3),
        cell(16, 1, a=1.0, b=math.inf),
        cell(64, 0, a=math.nan, b=0.1),
        cell(64, 1, a=math.inf, b=0.01),
        cell(64, 2, a=math.inf, b=math.inf),
        cell(256, 0, a=0.25, b=0.0),
    ]
    with style():
        figure = scatter_figure(SPEC, {"p": cells, "q": cells[:1]})
    yield figure.axes
    plt.close(figure)


def markers(ax, marker):
    return [(x, y) for line in ax.lines if line.get_marker() == marker for x, y in line.get_xydata()]


def test_every_decided_cell_has_a_place(drawn):
    ax, other = drawn
    bottom = ax.get_ylim()[0]
    np.testing.assert_allclose(sorted(markers(ax, "o")), [(0.25, bottom), (2.0, 0.3)])
    assert [x for x, _ in markers(ax, "^")] == pytest.approx([1.0, 0.985])
    assert [y for _, y in markers(ax, ">")] == pytest.approx([0.01])
    assert markers(other, "o") == [(2.0, 0.3)]
    assert not markers(other, "^")


def test_limits_quadrants_and_what_is_missing_are_shown(drawn):
    ax, _ = drawn
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    assert left < 0.25 < 0.5 < 2 < right
    assert low < 0.01 < 0.1 < 0.3 < high
    assert [text.get_text() for text in ax.texts] == ["ul", "ur", "ll", "lr"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["width 16", "width 64", "width 256", "inconclusive: 1"]
    assert ax.get_xscale() == ax.get_yscale() == "log"
