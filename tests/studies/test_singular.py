"""Training rows that make the Gram matrix singular are named, through the user's own file."""

import copy

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data import Dataset
from ntkgap.kernels import empirical_ntk
from ntkgap.linalg import as_matrix
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.optimization.singular import singular_rows
from tests.here import Here
from tests.studies.test_optimization import TINY

compute = OptimizationStudy.compute_cell


def notes_of(path, x, y, n_train, **model):
    """Notes of a cell whose training rows are those of the file in some order, and that order."""
    np.savez(path, x=np.concatenate([x, np.ones((1, x.shape[1]))]), y=np.append(y, 0.0))
    options = {"scaling": "none"}
    data = {"name": str(path), "n_train": n_train, "n_test": 1, "options": options}
    train, _ = ng.load_data(str(path), n_train, 1, 0, **options)
    cell = copy.deepcopy(TINY) | {"data": data, "width": 64}
    cell["model"] |= model
    return compute(cell)["notes"], train


def rows_where(train, inputs):
    return [int(i) for row in inputs for i in (train.x == torch.tensor(row, dtype=torch.float32)).all(1).nonzero()]


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(8, 5))


def test_equal_inputs_are_named_and_so_are_targets_that_differ(tmp_path, x):
    x[5], x[6] = x[1], x[2]
    y = np.arange(8.0)
    y[6] = y[2]
    notes, train = notes_of(tmp_path / "duplicates.npz", x, y, 8)
    names = {}
    for i in (1, 2):
        rows = sorted(rows_where(train, x[i : i + 1]))
        if len(rows) == 2:
            names[i] = " = ".join(map(str, rows))
    assert names
    same = next(note for note in notes if note.startswith("training inputs coincide"))
    assert all(name in same for name in names.values())
    conflict = [note for note in notes if "different targets" in note]
    assert (1 in names) == bool(conflict)
    assert not any(f"(rows {names.get(2)})" in note for note in conflict)
    assert not any("parallel" in note for note in notes), "said once is enough"


def test_multiples_are_named_only_where_the_network_cannot_tell_them_apart(x):
    x[4] = 3 * x[1]
    data = Dataset(torch.tensor(x, dtype=torch.float32).double(), torch.zeros(8, 1, dtype=torch.float64))
    for settings, blamed in (
        ({"nonlinearity": "relu"}, True),
        ({"nonlinearity": "relu", "bias_std": 0.5}, False),
        ({"nonlinearity": "tanh"}, False),
    ):
        net = ng.MLP(5, 1, 64, 2, generator=torch.Generator().manual_seed(0), **settings).double()
        notes = singular_rows(data, as_matrix(empirical_ntk(net, data.x)))
        assert bool(notes) == blamed, settings
        if blamed:
            assert "training inputs are multiples of each other (rows 1 = 4)" in notes[0]


def test_outputs_without_gradient_are_named(x):
    x[2] = 0
    data = Dataset(torch.tensor(x), torch.zeros(8, 2, dtype=torch.float64))
    net = ng.MLP(5, 2, 64, 2, nonlinearity="relu", generator=torch.Generator().manual_seed(0)).double()
    assert singular_rows(data, as_matrix(empirical_ntk(net, data.x))) == [
        "an output has no gradient on training rows 2"
    ]


def test_nobody_is_blamed_where_no_pair_is(x):
    """More rows than parameters: every row depends on the others, no two on each other."""
    data = Dataset(torch.tensor(x), torch.zeros(8, 1, dtype=torch.float64))
    jacobian = torch.tensor(np.random.default_rng(1).normal(size=(8, 3)))
    assert singular_rows(data, jacobian @ jacobian.T) == []


def test_data_that_are_not_finite_fail_their_cells_and_the_sweep_goes_on(tmp_path, x):
    x[3, 2] = np.nan
    np.savez(tmp_path / "holes.npz", x=x, y=np.arange(8.0))
    configuration = ng.OptimizationStudy.preset(
        "smoke", problems=["shallow"], widths=[16], seeds=[0]
    ).configuration()
    (good,) = configuration["problems"]
    bad = copy.deepcopy(good) | {"name": "holes"}
    bad["data"] |= {"name": str(tmp_path / "holes.npz"), "n_train": 6, "n_test": 2, "options": {}}
    configuration["problems"] = [bad, good]
    runs = ng.run(ng.OptimizationStudy.build(configuration), tmp_path / "store", engine=Here(), progress=False)
    assert runs.counts() == {"done": 1, "failed": 1}
    for cell, message in runs.failures():
        assert cell["problem"] == "holes"
        assert "x has NaN or infinite entries in 1 of 8 examples" in message
