import math

import numpy as np
import pytest
from matplotlib import pyplot as plt

from ntkgap.practice import CoordinateCheck
from ntkgap.reporting.coordinates import coordinate_figure
from ntkgap.reporting.style import style


@pytest.fixture
def check():
    widths = np.array([64.0, 128, 256])
    grown = {f"{i}": np.stack([widths**-0.5, 2 * widths**-0.5]) for i in range(9)}
    initial = grown | {"output": np.ones((2, 3))}
    change = grown | {"output": np.array([[1.0, 2.0, math.inf], [1.0, 2.0, 4.0]])}
    return CoordinateCheck((64, 128, 256), 3, initial, change)


def test_every_drawn_layer_shows_its_sizes_and_its_power(check):
    with style():
        figure = coordinate_figure(check, max_layers=3)
    start, change = figure.axes
    assert change.get_title(loc="left") == "change after 3 steps"
    assert [line.get_label() for line in start.lines] == [
        "layer 0: ∝ width^(-0.50 [-0.50, -0.50])",
        "layer 4: ∝ width^(-0.50 [-0.50, -0.50])",
        "layer 8: ∝ width^(-0.50 [-0.50, -0.50])",
        "output: ∝ width^(0.00 [0.00, 0.00])",
    ]
    np.testing.assert_allclose(start.lines[0].get_ydata(), 1.5 * np.array([64.0, 128, 256]) ** -0.5)
    assert change.lines[-1].get_label() == "output: no power of the width"
    np.testing.assert_allclose(change.lines[-1].get_ydata(), [1.0, 2.0, 4.0])  # what diverged has no place
    plt.close(figure)
