import itertools

import pytest
from matplotlib import pyplot as plt

from ntkgap.reporting.figures import (
    keep_from_negative,
    label_rows,
    legends_below,
    panels,
)
from ntkgap.reporting.style import COLUMN, LIMIT, MEASURED, REFERENCES, SCREEN, TEXT, ordered_colors, style


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
    full = max(SCREEN.least, SCREEN.panel_width * max(rows))
    assert (width, height) == pytest.approx((full, SCREEN.panel_height * len(rows)))
    inches = [(box.width * width, box.height * height) for box in boxes]
    assert inches == [pytest.approx(inches[0])] * n
    assert inches[0][1] == pytest.approx(SCREEN.panel_height - 0.78)
    firsts = list(itertools.accumulate(rows, initial=0))[:-1]
    assert [i for i, ax in enumerate(axes) if ax.get_ylabel()] == firsts
    plt.close(figure)


@pytest.mark.parametrize(("n", "paper"), [(1, None), (3, None), (4, None), (1, COLUMN), (3, TEXT), (4, TEXT)])
def test_legends_lie_below_their_panels_and_within_the_figure(n, paper):
    with style(paper):
        figure, axes = panels(n)
        for ax in axes:
            ax.set_xlabel("width")
            for i in range(7):
                ax.plot([1, 2], [i, 2 * i], label=f"fit: ∝ width^(−0.{i} [−0.58, −0.35])")
        before = [ax.get_position().height * figure.get_figheight() for ax in axes]
        legends_below(figure, axes)
        figure.canvas.draw()
        after = [ax.get_position().height * figure.get_figheight() for ax in axes]
        assert after == pytest.approx(before)
        legends = [ax.get_legend().get_window_extent() for ax in axes]
        for i, (ax, legend) in enumerate(zip(axes, legends, strict=True)):
            assert legend.y1 <= ax.xaxis.label.get_window_extent().y0 + 1
            assert figure.bbox.x0 <= legend.x0
            assert legend.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= legend.y0
            assert not any(legend.overlaps(other.get_window_extent()) for other in axes)
            assert not any(legend.overlaps(box) for j, box in enumerate(legends) if j != i)
    plt.close(figure)


def test_what_cannot_be_negative_has_no_negative_axis():
    figure, ((a, b), _) = plt.subplots(2, 2)
    for ax, values in ((a, [0.01, 0.4]), (b, [-0.01, 0.4])):
        ax.plot([1, 2], values)
        ax.margins(y=0.3)
        keep_from_negative(ax, values)
    assert a.get_ylim()[0] == 0
    assert b.get_ylim()[0] < 0
    plt.close(figure)


def test_series_have_colors_of_their_own():
    assert len({MEASURED, LIMIT, *REFERENCES}) == len(REFERENCES) + 2
    assert len(set(ordered_colors(6))) == 6
