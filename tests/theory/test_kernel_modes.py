import pytest
import torch

from ntkgap.errors import KernelError
from ntkgap.theory import KernelModes, critical_learning_rate
from tests.tolerances import EXACT


@pytest.fixture
def gram(generator):
    features = torch.randn(5, 8, dtype=torch.float64, generator=generator)
    return features @ features.T


def test_numbers_and_tensors_of_any_shape(gram):
    modes = KernelModes(gram)
    times = torch.tensor([[0.0, 0.1], [0.2, 3.0]])
    flow = modes.gradient_flow_decay(times)
    assert flow.shape == (2, 2, 5)
    torch.testing.assert_close(flow[1, 1], modes.gradient_flow_decay(3.0), rtol=EXACT, atol=0)
    descent = modes.gradient_descent_decay(0.01, torch.tensor([[0, 7]]))
    assert descent.shape == (1, 2, 5)
    torch.testing.assert_close(descent[0, 1], modes.gradient_descent_decay(0.01, 7), rtol=EXACT, atol=0)


def test_the_limit_is_reached_below_the_critical_rate_only(gram):
    modes, critical = KernelModes(gram), critical_learning_rate(gram)
    torch.testing.assert_close(
        modes.gradient_descent_decay(0.9 * critical, 10**6), modes.converged_decay(0.9 * critical)
    )
    assert torch.equal(modes.converged_decay(), torch.zeros(5).double())
    for rate in (critical * (1 + 1e-12), 2 * critical):
        with pytest.raises(KernelError, match=r"does not converge: the rate must be below 2/κ_max"):
            modes.converged_decay(rate)


def test_unresolved_modes_stay_where_they_are(generator):
    features = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    modes = KernelModes(features @ features.T)
    assert modes.resolved.tolist() == [False] * 3 + [True] * 3
    assert modes.converged_decay().tolist() == [1.0] * 3 + [0.0] * 3
    assert not modes.inverse_decay(modes.converged_decay())[:3].any()


def test_single_precision_entries_have_a_higher_floor(generator):
    features = torch.randn(6, 3, generator=generator)
    modes = KernelModes(features @ features.T)
    assert modes.eigenvalues.dtype == torch.float64
    assert modes.resolved.tolist() == [False] * 3 + [True] * 3


@pytest.mark.parametrize("times", [-1.0, float("nan"), float("inf"), torch.tensor([0.0, -0.1])])
def test_times_out_of_range(gram, times):
    with pytest.raises(KernelError, match=r"times must be finite and at least 0; .*converged_decay"):
        KernelModes(gram).gradient_flow_decay(times)


@pytest.mark.parametrize("steps", [-1, 0.5, float("inf"), torch.tensor([1.0, float("nan")])])
def test_steps_out_of_range(gram, steps):
    modes = KernelModes(gram)
    with pytest.raises(KernelError, match=r"steps must be whole numbers of at least 0"):
        modes.gradient_descent_decay(0.01, steps)
    with pytest.raises(KernelError, match=r"steps must be whole numbers of at least 0"):
        modes.natural_gradient_decay(0.01, steps)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_learning_rates_out_of_range(gram, rate):
    with pytest.raises(KernelError, match=r"learning_rate must be positive and finite"):
        KernelModes(gram).gradient_descent_decay(rate, 3)


def test_bad_matrices_are_named(gram):
    with pytest.raises(KernelError, match=r"the NTK: the matrix is not symmetric"):
        KernelModes(gram + torch.triu(gram), "the NTK")
    gram[2, 2] = float("nan")
    with pytest.raises(KernelError, match=r"the Gram matrix: .* NaN"):
        KernelModes(gram)
    with pytest.raises(KernelError, match=r"as_matrix"):
        KernelModes(torch.zeros(2, 2, 1, 1))
