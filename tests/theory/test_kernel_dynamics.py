import pytest
import torch

from ntkgap.errors import KernelError
from ntkgap.theory import KernelDynamics, critical_learning_rate
from tests.reference.dense import linear_gradient_descent
from tests.tolerances import EXACT, ITERATED


@pytest.fixture
def problem(generator):
    """Gram matrix, residual, cross-kernel and initial function of a random linear model on 7 + 3 points."""
    features = torch.randn(10, 12, dtype=torch.float64, generator=generator)
    gram = features[:7] @ features[:7].T
    residual = torch.randn(7, 1, dtype=torch.float64, generator=generator)
    cross = features[7:] @ features[:7].T
    initial = torch.randn(3, 1, dtype=torch.float64, generator=generator)
    return gram, residual, cross, initial


def test_gradient_descent_is_the_iterated_map(problem):
    gram, residual, _, _ = problem
    rate = 0.7 * critical_learning_rate(gram)
    history = linear_gradient_descent(gram, residual, rate, 40)
    dynamics = KernelDynamics(gram, residual)
    predicted = dynamics.losses(dynamics.gradient_descent_decay(rate, torch.arange(41)))
    torch.testing.assert_close(predicted, 0.5 * history.square().sum(dim=1), rtol=ITERATED, atol=0)


def test_damped_natural_gradient_is_the_iterated_map(problem):
    gram, residual, _, _ = problem
    damped = gram @ torch.linalg.inv(gram + 0.3 * torch.eye(7, dtype=torch.float64))
    history = linear_gradient_descent(damped, residual, 0.4, 20)
    dynamics = KernelDynamics(gram, residual)
    predicted = dynamics.losses(dynamics.natural_gradient_decay(0.4, torch.arange(21), damping=0.3))
    torch.testing.assert_close(predicted, 0.5 * history.square().sum(dim=1), rtol=ITERATED, atol=0)


def test_undamped_natural_gradient_knows_only_the_learning_rate(problem):
    gram, residual, _, _ = problem
    dynamics = KernelDynamics(gram, residual)
    losses = dynamics.losses(dynamics.natural_gradient_decay(0.5, torch.arange(10)))
    torch.testing.assert_close(losses[1:] / losses[:-1], torch.full((9,), 0.25).double(), rtol=EXACT, atol=0)


def test_gradient_flow_is_the_limit_of_small_steps(problem):
    """The error of n Euler steps over a fixed time falls like 1/n."""
    gram, residual, _, _ = problem
    dynamics = KernelDynamics(gram, residual)
    time = 1 / gram.trace()
    flow = dynamics.losses(dynamics.gradient_flow_decay(time[None]))
    errors = []
    for n in (100, 200, 400):
        steps = dynamics.gradient_descent_decay(float(time) / n, torch.tensor([n]))
        errors.append(abs(dynamics.losses(steps) - flow).item())
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.05)


def test_predictions_start_at_the_initial_function_and_end_at_kernel_regression(problem):
    gram, residual, cross, initial = problem
    dynamics = KernelDynamics(gram, residual)
    times = torch.tensor([0.0, 1e9])
    start, end = dynamics.predictions(dynamics.gradient_flow_decay(times), cross, initial)
    torch.testing.assert_close(start, initial, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(
        end, initial - cross @ torch.linalg.solve(gram, residual), rtol=ITERATED, atol=ITERATED
    )


def test_predictions_on_the_training_points_are_the_training_curve(problem):
    gram, residual, _, _ = problem
    dynamics = KernelDynamics(gram, residual)
    decay = dynamics.gradient_descent_decay(0.5 * critical_learning_rate(gram), torch.arange(5))
    outputs = dynamics.predictions(decay, gram, residual)  # with targets zero the residual is the function
    torch.testing.assert_close(
        0.5 * outputs.square().sum(dim=(1, 2)), dynamics.losses(decay), rtol=ITERATED, atol=0
    )


def test_a_singular_kernel_leaves_its_null_space_alone(generator):
    j = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    gram, residual = j @ j.T, torch.randn(6, 1, dtype=torch.float64, generator=generator)
    dynamics = KernelDynamics(gram, residual)
    final = dynamics.losses(dynamics.gradient_flow_decay(torch.tensor([1e6])))
    projector = torch.eye(6, dtype=torch.float64) - j @ torch.linalg.pinv(j)
    assert final.item() == pytest.approx(0.5 * (projector @ residual).square().sum().item(), rel=ITERATED)
    outputs = dynamics.predictions(dynamics.gradient_flow_decay(torch.tensor([1e6])), gram, residual)
    torch.testing.assert_close(outputs[0], projector @ residual, rtol=ITERATED, atol=ITERATED)


def test_the_critical_rate_separates_decay_from_divergence(problem):
    gram, residual, _, _ = problem
    dynamics = KernelDynamics(gram, residual)
    for factor, grows in ((0.99, False), (1.01, True)):
        decay = dynamics.gradient_descent_decay(factor * critical_learning_rate(gram), torch.tensor([0, 2000]))
        first, last = dynamics.losses(decay)
        assert (last > first) == grows


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("divisor", [1.0, 14.0])
def test_the_critical_rate_of_the_heavy_ball_on_a_mean_loss(problem, momentum, divisor):
    """Iterated r ← r − (η/N)Kr + μ(r − r_before): below the rate it decays, above it grows."""
    gram, residual, _, _ = problem
    for factor, grows in ((0.99, False), (1.01, True)):
        rate = factor * critical_learning_rate(gram, divisor=divisor, momentum=momentum)
        r = before = residual
        for _ in range(3000):
            r, before = r - rate / divisor * gram @ r + momentum * (r - before), r
        assert (r.norm() > residual.norm()) == grows


@pytest.mark.parametrize("scale", ["mean of halves", "MSELoss"])
def test_the_divisor_is_that_of_the_loss_named(scale, generator):
    """Gradient descent on the loss as torch computes it, for a linear model with two outputs sharing features."""
    x, y = (torch.randn(5, k, dtype=torch.float64, generator=generator) for k in (7, 2))
    divisor = y.numel() if scale == "mean of halves" else y.numel() / 2
    critical = critical_learning_rate(x @ x.T, divisor=divisor)
    for factor, grows in ((0.98, False), (1.02, True)):
        w = torch.zeros(7, 2, dtype=torch.float64, requires_grad=True)
        losses = []
        for _ in range(500):
            loss = torch.nn.functional.mse_loss(x @ w, y) * (0.5 if scale == "mean of halves" else 1.0)
            losses.append(loss.item())
            (gradient,) = torch.autograd.grad(loss, w)
            w = (w - factor * critical * gradient).detach().requires_grad_()
        assert (losses[-1] > losses[0]) == grows


def test_bad_input_is_named(problem):
    gram, residual, cross, initial = problem
    with pytest.raises(KernelError, match="Gram matrix of 3 rows"):
        KernelDynamics(gram, residual[:3])
    with pytest.raises(KernelError, match="no positive eigenvalue"):
        critical_learning_rate(torch.zeros(2, 2))
    with pytest.raises(KernelError, match="as_matrix"):
        KernelDynamics(torch.zeros(2, 2, 1, 1), residual)
    with pytest.raises(KernelError, match=r"divisor must be positive"):
        critical_learning_rate(gram, divisor=0)
    with pytest.raises(KernelError, match=r"momentum must be at least 0 and below 1, got 1"):
        critical_learning_rate(gram, momentum=1)
    dynamics = KernelDynamics(gram, residual)
    with pytest.raises(KernelError, match=r"cross kernel must have shape \(3, 7\), got \(7, 3\)"):
        dynamics.predictions(dynamics.converged_decay(), cross.T, initial)
    with pytest.raises(KernelError, match=r"decay must hold"):
        dynamics.losses(torch.ones(3))
