import itertools

import pytest
from matplotlib import pyplot as plt

from ntkgap.reporting.figures import PANEL_HEIGHT, PANEL_WIDTH, label_rows, panels, to_svg


@pytest.mark.parametrize(
    ("n", "rows"), [(1, [1]), (2, [2]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (6, [3, 3]), (7, [3, 3, 1])]
)
def test_panels_wrap_and_stay_of_one_size(n, rows):
    figure, axes = panels(n)
    label_rows(axes, "loss")
    assert figure.axes == axes
    boxes = [ax.get_position() for ax in axes]
    heights = [box.y0 for box in boxes]
    assert [len(list(group)) for _, group in itertools.groupby(heights)] == rows
    assert heights == sorted(heights, reverse=True)
    width, height = figure.get_size_inches()
    assert (width, height) == pytest.approx((PANEL_WIDTH * max(rows), PANEL_HEIGHT * len(rows)))
    inches = [(box.width * width, box.height * height) for box in boxes]
    assert inches == [pytest.approx(inches[0])] * n
    assert inches[0][1] == pytest.approx(PANEL_HEIGHT - 0.78)
    firsts = list(itertools.accumulate(rows, initial=0))[:-1]
    assert [i for i, ax in enumerate(axes) if ax.get_ylabel()] == firsts
    assert f"max-width: {96 * PANEL_WIDTH * max(rows):.0f}px" in to_svg(figure, "p")
    plt.close(figure)
