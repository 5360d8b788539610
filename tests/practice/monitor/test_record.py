"""What comes out: dictionaries, frames, a figure."""

import math

import torch
from torch import nn

import ntkgap as ng
from ntkgap.practice.monitor.record import QUANTITIES
from tests.practice.monitor.networks import case


def test_dictionaries_frames_and_a_figure():
    made = case("batch normalization")
    optimizer = torch.optim.SGD(made.model.parameters(), lr=0.1)
    monitor = ng.Monitor(
        made.model, made.x, made.y, made.x[:4], nn.CrossEntropyLoss(), optimizer, None, y_test=made.y[:4]
    )
    rows = [monitor.observe(0, loss=torch.tensor(2.5, requires_grad=True))]
    made.move()
    rows.append(monitor.observe(10))
    table = monitor.to_pandas()
    assert list(table.columns)[:11] == ["step", *QUANTITIES]
    tests = {f"{q}_test" for q in QUANTITIES} - {"kappa_max_test", "stability_ratio_test", "parameter_change_test"}
    assert set(table.columns[11:]) == tests
    for row, (_, expected) in zip(rows, table.iterrows(), strict=True):
        assert all(type(value) is float for value in row.values())
        assert all(row[k] == expected[k] or math.isnan(row[k]) for k in row)
    assert rows[0]["loss"] == 2.5
    assert rows[1]["loss"] > 0  # of the probe
    layers = monitor.by_layer()
    assert list(layers.columns) == ["step", "layer", "parameter_change", "kernel_change", "signs_changed"]
    figure = monitor.plot()
    assert len(figure.axes) == 6
    assert all(axes.lines for axes in figure.axes)
    assert "2 observations" in repr(monitor)


def test_a_figure_of_nothing():
    made = case("dropout")
    assert ng.Monitor(made.model, made.x).plot().axes
