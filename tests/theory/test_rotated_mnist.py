"""What infinite width forgets of rotated MNIST, beside figures from another implementation."""

import importlib.util
from pathlib import Path

import pytest
import torch

import ntkgap as ng
from ntkgap.data import data_files
from ntkgap.errors import DataError
from tests.data.test_real_files import ROOT

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "rotated_mnist_reference.py"

# Of every number of hidden layers, mean of seeds 0, 1, 2, in per cent: average accuracy, forgetting and learning
# accuracy after 1, 10 and 100 steps a task, and without end.
TABLE = {
    1: [(53.6, 5.5, 50.3), (64.5, 13.7, 72.8), (61.4, 30.4, 85.7), (74.2, 21.4, 91.3)],
    2: [(53.2, 4.3, 47.6), (67.8, 10.2, 73.2), (69.0, 22.0, 86.6), (77.4, 17.9, 91.7)],
}

# The figures have one decimal.
DIGITS = 0.051


@pytest.mark.parametrize("depth", TABLE)
def test_four_training_times_at_infinite_width(monkeypatch, depth):
    monkeypatch.setenv("NTKGAP_DATA", str(ROOT))
    try:
        data_files("mnist")
    except DataError as error:
        pytest.skip(f"needs MNIST: {error}")
    spec = importlib.util.spec_from_file_location("rotated_mnist_reference", SCRIPT)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    matrices = torch.stack([reference.predicted(seed, depth=depth) for seed in range(3)])
    for scores, expected in zip(matrices.unbind(1), TABLE[depth], strict=True):
        found = [ng.continual.AccuracyMatrix(s) for s in scores]
        means = [
            sum(m.average_accuracy for m in found),
            sum(m.forgetting(reference.CONVENTION) for m in found),
            sum(m.learning_accuracy for m in found),
        ]
        assert [100 * v / 3 for v in means] == pytest.approx(expected, abs=DIGITS)
