"""Numbers of an independent implementation: kernels, ensembles under gradient flow, the critical learning rate."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ntkgap.theory import InfiniteEnsemble, critical_learning_rate
from tests.reference.infinite import relu_kernels
from tests.tolerances import EXACT, ITERATED

ORACLES = Path(__file__).parents[1] / "oracles"


@pytest.fixture(scope="module")
def oracle():
    with np.load(ORACLES / "predict_relu.npz") as arrays:
        return {k: torch.from_numpy(np.asarray(v)) for k, v in arrays.items()}


@pytest.fixture(scope="module")
def cross(oracle):
    """(NTK, NNGP) of test with training points, and of test points with themselves."""
    train, test = oracle["x_train"], oracle["x_test"]
    return relu_kernels(test, train, 2, 1.4, 0.1), relu_kernels(test, test, 2, 1.4, 0.1)


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


def test_the_reference_kernels_are_the_oracles(oracle):
    ntk, nngp = relu_kernels(oracle["x_train"], oracle["x_train"], 2, 1.4, 0.1)
    assert relative_error(nngp, oracle["nngp_dd"]) < EXACT
    # The oracle's angle of an input with itself is √ε-exact only, which shows on the diagonal of its NTK alone.
    off_diagonal = ~torch.eye(len(ntk), dtype=bool)
    assert relative_error(ntk[off_diagonal], oracle["ntk_dd"][off_diagonal]) < EXACT
    assert relative_error(ntk, oracle["ntk_dd"]) < ITERATED


@pytest.mark.parametrize("time", ["1", "10", "100", "1000", "inf"])
@pytest.mark.parametrize("trained", ["ntk", "nngp"])
def test_ensembles_under_gradient_flow(oracle, cross, trained, time):
    """The oracle's loss is ‖f − y‖²/(2nC) with learning rate 0.1: its time t is ours times 0.1/(nC)."""
    (ntk_cross, nngp_cross), (_, nngp_test) = cross
    y, nngp = oracle["y_train"], oracle["nngp_dd"]
    ensemble = InfiniteEnsemble(oracle[f"{trained}_dd"], nngp, y)
    if time == "inf":
        decay = ensemble.converged_decay()
    else:
        decay = ensemble.gradient_flow_decay(0.1 * float(time) / y.numel())
    reach = ntk_cross if trained == "ntk" else nngp_cross
    found = ensemble.predict(decay, reach, nngp_cross, nngp_test)
    assert relative_error(found.mean, oracle[f"{trained}_mean_t{time}"]) < ITERATED
    assert relative_error(found.covariance, oracle[f"{trained}_cov_t{time}"]) < ITERATED


def test_the_critical_learning_rate_of_the_mean_loss(oracle):
    found = critical_learning_rate(oracle["ntk_dd"], divisor=oracle["y_train"].numel())
    assert found == pytest.approx(oracle["max_lr_momentum0"].item(), rel=EXACT)
