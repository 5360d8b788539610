"""Whoever solves with a kernel says where its rounding decides the answer, and only there."""

import math
import warnings

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import AccuracyWarning, KernelError
from ntkgap.linalg import Evidence
from ntkgap.practice import natural_gradient_descent
from ntkgap.theory import (
    GaussianProcess,
    InfiniteEnsemble,
    KernelDynamics,
    KernelModes,
    RandomizedPriorEnsemble,
    SequentialRegression,
    joint_duals,
    sequential_duals,
)

N = 100
SINGLE, DOUBLE = torch.float32, torch.float64


def in_single_precision(x1, x2, depth):
    """The tangent kernel of a ReLU network by float32 arithmetic throughout, as one would write it down.

    ``infinite_width`` rounds to float32 in the end only, and loses nothing here.
    """
    left, right = x1.float(), (x1 if x2 is None else x2).float()
    q1, q2 = (2 * x.square().sum(1) + 0.01 for x in (left, right))
    nngp = 2 * left @ right.T + 0.01
    ntk, own = nngp.clone(), q1.clone()
    for _ in range(depth):
        norms = torch.sqrt(torch.outer(q1, q2))
        rho = (nngp / norms).clamp(-1, 1)
        slope = 1 - torch.arccos(rho) / math.pi  # twice E[φ'φ']
        nngp = norms * torch.sqrt(1 - rho**2) / math.pi + nngp * slope + 0.01
        ntk = nngp + slope * ntk
        q1, q2 = q1 + 0.01, q2 + 0.01  # twice E[φ²] is q
        own = q1 + own
    return ntk if x2 is not None else ((ntk + ntk.T) / 2).diagonal_scatter(own)


def on_a_line(half):
    return torch.linspace(-half, half, N, dtype=DOUBLE)[:, None]


class Problem:
    """Kernels of training and test points in both precisions, and noisy targets."""

    def __init__(self, x, at, depth, generator):
        limit = ng.infinite_width(ng.MLP(1, 1, width=8, depth=depth, weight_std=2**0.5, bias_std=0.1))
        self.gram = {SINGLE: in_single_precision(x, None, depth), DOUBLE: limit.ntk(x)}
        self.cross = {SINGLE: in_single_precision(at, x, depth), DOUBLE: limit.ntk(at, x)}
        self.test = {SINGLE: in_single_precision(at, None, depth), DOUBLE: limit.ntk(at)}
        noise = torch.randn(len(x), 1, dtype=DOUBLE, generator=generator)
        self.y = torch.sin(4 * x[:, :1] / x.abs().max()) + 0.3 * noise
        self.largest = float(torch.linalg.eigvalsh(self.gram[DOUBLE])[-1])


def line(half, depth, generator):
    """Points on a line: neighbors are alike, more so in a deep network, and no two of them are equal."""
    x = on_a_line(half)
    return Problem(x, 0.97 * x[::3], depth, generator)


def smallest(gram):
    return float(torch.linalg.eigvalsh(gram.double())[0])


@pytest.fixture(scope="module")
def below():
    """λ_min is −1 or less in float32, below its noise floor, where in truth it is 0.43."""
    problem = line(12.0, 10, torch.Generator().manual_seed(0))
    assert smallest(problem.gram[SINGLE]) < -1
    assert smallest(problem.gram[DOUBLE]) > 0.3
    return problem


@pytest.fixture(scope="module")
def positive():
    """λ_min is positive in float32 by chance, and at most a tenth of what it is."""
    for half in torch.linspace(9.0, 11.0, 200):  # which one it is, is a matter of the last digits
        if smallest(in_single_precision(on_a_line(float(half)), None, 10)) <= 0:
            continue  # the kernel in double precision takes long
        problem = line(float(half), 10, torch.Generator().manual_seed(0))
        if 0 < 10 * smallest(problem.gram[SINGLE]) < smallest(problem.gram[DOUBLE]):
            return problem
    pytest.fail("no kernel is positive by chance")


def ensemble(p, dtype, time=None):
    found = InfiniteEnsemble(p.gram[dtype], None, p.y)
    decay = found.converged_decay() if time is None else found.gradient_flow_decay(time / p.largest)
    return found.predict(decay, p.cross[dtype]).mean


def on_training_points(p, dtype):
    found = InfiniteEnsemble(p.gram[dtype], None, p.y)
    return found.predict_training(found.gradient_flow_decay(1e6 / p.largest)).mean


def dynamics(p, dtype, time=None):
    found = KernelDynamics(p.gram[dtype], -p.y)
    decay = found.converged_decay() if time is None else found.gradient_flow_decay(time / p.largest)
    return found.predictions(decay, p.cross[dtype], torch.zeros(len(p.cross[dtype]), 1, dtype=DOUBLE))


def losses(p, dtype):
    found = KernelDynamics(p.gram[dtype], -p.y)
    rate = 1 / p.largest
    return found.losses(found.gradient_descent_decay(rate, torch.tensor([0, 10, 10**6]))).sqrt()


def sequential(p, dtype, time=None):
    kernel = torch.cat([p.gram[dtype], p.cross[dtype]])
    decay = (
        KernelModes.converged_decay
        if time is None
        else lambda modes: modes.gradient_descent_decay(1 / p.largest, int(time))
    )
    return SequentialRegression(torch.zeros(len(kernel), 1)).learn(kernel, range(N), p.y, decay=decay).function[N:]


def stopped_duals(p, dtype):
    duals = sequential_duals(p.gram[dtype], [N], p.y, lambda modes: modes.gradient_descent_decay(1e-6, 10**9))
    return p.cross[dtype].double() @ duals


def process(p, dtype, noise):
    return GaussianProcess(p.gram[dtype], p.y, noise * p.largest).predict(p.cross[dtype], p.test[dtype]).mean


def prior_ensemble(p, dtype, noise):
    return RandomizedPriorEnsemble(p.gram[dtype], None, p.y, noise * p.largest).predict(p.cross[dtype]).mean


def likelihood(p, dtype):
    return GaussianProcess(p.gram[dtype], p.y, 1e-6 * p.largest).log_marginal_likelihood()


def evidence(p, dtype):
    return Evidence(p.gram[dtype], p.y).log_evidence(1.0, 1e-7 * p.largest)


LONG = {
    "ensemble": ensemble,
    "ensemble, late": lambda p, dtype: ensemble(p, dtype, 1e6),
    "ensemble, training points": on_training_points,
    "dynamics": dynamics,
    "dynamics, late": lambda p, dtype: dynamics(p, dtype, 1e6),
    "losses": losses,
    "sequential": sequential,
    "sequential, late": lambda p, dtype: sequential(p, dtype, 10**6),
    "stopped duals": stopped_duals,
}
NOISELESS = {
    "process": lambda p, dtype: process(p, dtype, 0.0),
    "process, little noise": lambda p, dtype: process(p, dtype, 1e-6),
    "prior ensemble": lambda p, dtype: prior_ensemble(p, dtype, 0.0),
    "prior ensemble, little noise": lambda p, dtype: prior_ensemble(p, dtype, 1e-6),
    "likelihood": likelihood,
    "joint duals": lambda p, dtype: joint_duals(p.gram[dtype], p.y),
    "sequential duals": lambda p, dtype: sequential_duals(p.gram[dtype], [N], p.y),
}
ALWAYS = {"evidence": evidence}
SHORT = {
    "ensemble": lambda p, dtype: ensemble(p, dtype, 10),
    "dynamics": lambda p, dtype: dynamics(p, dtype, 10),
    "sequential": lambda p, dtype: sequential(p, dtype, 10),
    "process": lambda p, dtype: process(p, dtype, 0.1),
    "prior ensemble": lambda p, dtype: prior_ensemble(p, dtype, 0.1),
    "maximum of the evidence": lambda p, dtype: (
        Evidence(p.gram[dtype], p.y).maximum(1e-3 * p.largest).noise_variance
    ),
}


def silently(solve, problem, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return torch.as_tensor(solve(problem, dtype))


@pytest.mark.parametrize("solve", {**LONG, **ALWAYS}.values(), ids={**LONG, **ALWAYS})
@pytest.mark.parametrize("problem", ["below", "positive"])
def test_single_precision_is_warned_of_where_it_decides(request, problem, solve):
    problem = request.getfixturevalue(problem)
    with pytest.warns(AccuracyWarning, match="in float32.*compute the kernel in float64") as caught:
        single = torch.as_tensor(solve(problem, SINGLE))
    assert "repeat" not in str(caught[0].message)  # no two points are equal
    double = silently(solve, problem, DOUBLE)
    assert (single - double).abs().max() > 0.1  # it was right to say so


@pytest.mark.parametrize("solve", NOISELESS.values(), ids=NOISELESS)
def test_solves_that_go_through_by_chance_are_warned_of(positive, solve):
    with pytest.warns(AccuracyWarning, match="in float32.*compute the kernel in float64") as caught:
        single = solve(positive, SINGLE)
    assert "repeat" not in str(caught[0].message)
    assert (single - silently(solve, positive, DOUBLE)).abs().max() > 0.1


@pytest.mark.parametrize("solve", NOISELESS.values(), ids=NOISELESS)
def test_solves_that_do_not_go_through_name_the_precision(below, solve):
    with pytest.raises(KernelError, match=r"not positive definite.*; compute the kernel in float64"):
        solve(below, SINGLE)
    silently(solve, below, DOUBLE)


@pytest.mark.parametrize("solve", SHORT.values(), ids=SHORT)
@pytest.mark.parametrize("problem", ["below", "positive"])
def test_short_training_and_noise_need_no_warning(request, problem, solve):
    problem = request.getfixturevalue(problem)
    single, double = (silently(solve, problem, dtype) for dtype in (SINGLE, DOUBLE))
    torch.testing.assert_close(single, double, rtol=0.05, atol=0.02)


def test_noise_as_large_as_the_negative_eigenvalue_is_not_enough(below):
    """K + σ²I has a factor, but what is left of its smallest eigenvalue is noise."""
    noise = -1.5 * smallest(below.gram[SINGLE]) / below.largest
    with pytest.warns(AccuracyWarning, match="its smallest eigenvalue is -1"):
        single = process(below, SINGLE, noise)
    assert (single - process(below, DOUBLE, noise)).abs().max() > 0.1


def test_a_kernel_that_was_cast_gives_itself_away(below):
    """Its type says float64, a negative eigenvalue says otherwise."""
    for kernels in (below.gram, below.cross, below.test):
        kernels["cast"] = kernels[SINGLE].double()
    with pytest.raises(KernelError, match="far below what rounding makes of zero"):
        ensemble(below, "cast")
    with pytest.warns(AccuracyWarning, match="if it came from a coarser type, compute the kernel in float64"):
        prior_ensemble(below, "cast", -1.5 * smallest(below.gram[SINGLE]) / below.largest)  # as above


def test_the_other_kernel_may_be_the_coarse_one(below):
    p = below
    with pytest.warns(AccuracyWarning, match="in float32"):
        GaussianProcess(p.gram[DOUBLE], p.y).predict(p.cross[SINGLE], p.test[SINGLE])
    ensemble = InfiniteEnsemble(p.gram[DOUBLE], None, p.y)
    with pytest.warns(AccuracyWarning, match="in float32"):
        ensemble.predict(ensemble.converged_decay(), p.cross[SINGLE])


@pytest.mark.parametrize("seed", range(24))
def test_no_false_alarm_on_problems_that_float32_resolves(seed):
    """Well-conditioned kernels in float32 with any targets; and any kernel at noise far above its floor."""
    generator = torch.Generator().manual_seed(seed)
    n = int(torch.randint(5, 80, (), generator=generator))
    y = torch.randn(n, 2, generator=generator)
    features = torch.randn(n + 4, 4 * n, generator=generator)
    solve_all(features, y, noise=0.0)
    few = torch.randn(n + 4, max(1, n // 3), generator=generator)  # singular
    solve_all(few, y, noise=1e-3 * float(torch.linalg.matrix_norm(few, 2)) ** 2)


def solve_all(features, y, noise):
    n, kernel = len(y), features @ features.T
    gram, cross, test = kernel[:n, :n], kernel[n:, :n], kernel[n:, n:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianProcess(gram, y, noise).predict(cross, test)
        RandomizedPriorEnsemble(gram, None, y, noise).predict(cross)
        if noise:
            assert Evidence(gram, y).log_evidence(1.0, noise) < 0
            return
        found = InfiniteEnsemble(gram, None, y)
        for decay in (found.converged_decay(), found.gradient_flow_decay(torch.tensor([1e-3, 1.0, 1e9]))):
            found.predict(decay, cross)
            found.predict_training(decay)
        SequentialRegression(torch.zeros(n + 4, 2)).learn(kernel[:, :n], range(n), y)
        joint_duals(gram, y)


@pytest.mark.parametrize("rank", [1, 3, 20])
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_a_kernel_of_low_rank_is_not_blamed(generator, rank, dtype):
    """Its spectrum breaks off: what it cannot learn is no question of rounding; the answer is least squares."""
    features = torch.randn(40, rank, dtype=dtype, generator=generator)
    y = torch.randn(30, 1, dtype=dtype, generator=generator)
    kernel = features @ features.T
    found = InfiniteEnsemble(kernel[:30, :30], None, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = found.predict(found.converged_decay(), kernel[30:, :30]).mean
        late = found.predict(found.gradient_flow_decay(100.0), kernel[30:, :30]).mean
    exact = features[30:].double() @ torch.linalg.lstsq(features[:30].double(), y.double()).solution
    for mean in (ended, late):
        torch.testing.assert_close(mean, exact, rtol=1e-4, atol=1e-4)


def test_double_precision_below_its_floor_says_what_helps(generator):
    """A smooth kernel: its eigenvalues fall through the floor of float64, and no type is finer."""
    x = torch.linspace(-1, 1, 40, dtype=DOUBLE)[:, None]
    kernel = torch.exp(-((x - x.T) ** 2))
    y = torch.randn(40, 1, dtype=DOUBLE, generator=generator)
    found = InfiniteEnsemble(kernel, None, y)
    with pytest.warns(AccuracyWarning, match="in float64.*; stop training earlier") as caught:
        found.predict(found.converged_decay(), kernel)
    assert "compute the kernel" not in str(caught[0].message)
    smooth = InfiniteEnsemble(kernel, None, torch.sin(x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.predict(found.gradient_flow_decay(1e6), kernel)  # before those eigenvalues matter
        smooth.predict(smooth.converged_decay(), kernel)  # of which the targets have no part
        GaussianProcess(kernel, y, 1e-8).predict(kernel, kernel)


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_inputs_that_repeat_are_named_where_there_are_some(generator, dtype):
    x = torch.randn(30, 3, dtype=DOUBLE, generator=generator)
    x[7] = x[4]
    kernel = torch.exp(-torch.cdist(x, x)).to(dtype)
    y = torch.randn(30, 1, dtype=DOUBLE, generator=generator)
    noise = 2e-7 if dtype == SINGLE else 2e-14
    solve = GaussianProcess(kernel, y, noise)
    with pytest.warns(AccuracyWarning, match=r"leave out inputs that repeat others \(rows 4 = 7\)"):
        solve.predict(kernel, kernel)
    y[7] = y[4]  # then nothing is asked of their difference
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianProcess(kernel, y, noise).predict(kernel, kernel)


def test_the_warning_is_of_the_line_that_solved(positive):
    for solve in (ensemble, dynamics, sequential, evidence, lambda p, dtype: process(p, dtype, 1e-6)):
        with pytest.warns(AccuracyWarning) as caught:
            solve(positive, SINGLE)
        assert caught[0].filename == __file__


def test_natural_gradient_says_so_once(generator):
    x = torch.linspace(-3, 3, 60)[:, None]
    data = ng.Dataset(x, torch.sin(3 * x) + 0.1 * torch.randn(60, 1, generator=generator))
    network = ng.MLP(1, 1, width=256, depth=2, bias_std=0.1, generator=generator)
    with pytest.warns(AccuracyWarning, match="Gram matrix at the start.*float64.*set a damping") as caught:
        natural_gradient_descent(network, data, steps=3, learning_rate=0.1, damping=1e-5)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        natural_gradient_descent(network, data, steps=3, learning_rate=0.1, damping=1.0)
