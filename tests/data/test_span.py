"""Inputs by their coordinates in their span: the same kernels, starts and trainings."""

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.data import in_span
from ntkgap.practice import natural_gradient_descent
from tests.reference.preactivations import natural_gradient_path
from tests.tolerances import CANCELLING, EXACT, ITERATED


def sets(d=50, shape=(50,)):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10, d, generator=generator, dtype=torch.float64)
    x = x / x.norm(dim=1, keepdim=True)
    y = torch.randn(10, 1, generator=generator, dtype=torch.float64)
    return ng.Dataset(x[:7].reshape(7, *shape), y[:7]), ng.Dataset(x[7:].reshape(3, *shape), y[7:])


@pytest.mark.parametrize("shape", [(50,), (2, 5, 5)])
def test_products_of_all_inputs_are_kept_with_fewer_columns(shape):
    before = torch.cat([data.x.flatten(1) for data in sets(shape=shape)])
    train, test = in_span(*sets(shape=shape))
    after = torch.cat([train.x, test.x])
    assert after.shape == (10, 10)
    torch.testing.assert_close(after @ after.T, before @ before.T, rtol=EXACT, atol=EXACT)
    assert train.y.equal(sets()[0].y)


def test_few_columns_stay_as_they_are():
    train, test = sets(d=8, shape=(8,))
    assert in_span(train, test)[0].x.equal(train.x)


def test_a_network_in_the_span_takes_the_same_steps():
    (train, test), (narrow, _) = sets(), in_span(*sets())
    basis = torch.linalg.lstsq(torch.cat([train.x, test.x]), torch.eye(10, dtype=torch.float64)).solution
    basis = basis @ torch.cat([narrow.x, in_span(train, test)[1].x])  # Q, with X Q = R
    wide, small = (
        ng.models.ShallowNet(d, 64, generator=torch.Generator().manual_seed(1)).double() for d in (50, 10)
    )
    with torch.no_grad():
        small.hidden.weight.copy_(wide.hidden.weight @ basis)
    small.readout.weight.copy_(wide.readout.weight)
    curves = [
        natural_gradient_descent(net, data, learning_rate=0.5, steps=6).losses
        for net, data in ((wide, train), (small, narrow))
    ]
    assert curves[0] == pytest.approx(curves[1], rel=ITERATED)


def test_a_cell_in_the_span_follows_the_pre_activations():
    settings = {
        "model": {"architecture": "shallow"},
        "data": {"name": "sphere", "n_train": 12, "n_test": 4, "options": {"dim": 40}},
        "natural_gradient": {"learning_rate": 0.5, "steps": 6},
        "gradient_descent": {"steps": 2},
        "span": True,
    }
    study = ng.OptimizationStudy.build({"seeds": [0], "problems": [{"name": "p", "widths": [256], **settings}]})
    (cell,) = study.cells()
    found = ng.OptimizationStudy.compute_cell(cell)
    problem = study.problems[0]
    train, _ = problem.load(0)
    assert train.x.shape == (12, 16)
    stream = int(np.random.SeedSequence([0, 256]).generate_state(1)[0])
    net = problem.network(train.to(torch.float64), 256, torch.Generator().manual_seed(stream)).double()
    x = train.x.double()
    with torch.no_grad():
        z = net.hidden(x).T
    losses, drift = natural_gradient_path(z, net.signs.T, x @ x.T, train.y.double(), 0.5, 6)
    assert found["curves"]["ngd_loss"] == pytest.approx([v / losses[0] for v in losses], rel=ITERATED)
    assert found["scalars"]["c_prime"] == pytest.approx(max(drift), rel=CANCELLING)


def test_other_networks_refuse_the_span():
    with pytest.raises(ng.NtkgapError, match="span: for architecture 'shallow' alone"):
        ng.OptimizationStudy.build(
            {
                "seeds": [0],
                "problems": [
                    {
                        "name": "p",
                        "widths": [8],
                        "span": True,
                        "model": {"architecture": "mlp"},
                        "data": {"name": "digits", "n_train": 4, "n_test": 4},
                        "natural_gradient": {"steps": 1},
                        "gradient_descent": {"steps": 1},
                    }
                ],
            }
        )
