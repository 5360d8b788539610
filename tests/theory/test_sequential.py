"""Kernel regression task by task: one solve or many, linear models, orthogonal gradients, heads."""

import pytest
import torch
from scipy.integrate import solve_ivp

from ntkgap.errors import AccuracyWarning, JitterWarning, KernelError
from ntkgap.theory import (
    AppliedKernel,
    KernelModes,
    SequentialRegression,
    forgetting_by_overlap,
    forgotten_residuals,
    joint_duals,
    project_out,
    sequential_duals,
    task_overlap,
)
from tests.tolerances import EXACT, FLOW, ITERATED, SINGLE

SIZES = (5, 7, 4)
OUTPUTS, FEATURES, NEW = 3, 30, 6


@pytest.fixture
def problem():
    """Features of a linear model on three tasks and some new points, targets, and where it starts."""
    g = torch.Generator().manual_seed(5)
    n = sum(SIZES)
    phi = torch.randn(n + NEW, FEATURES, generator=g, dtype=torch.float64) / FEATURES**0.5
    y = torch.randn(n, OUTPUTS, generator=g, dtype=torch.float64)
    start = torch.randn(FEATURES, OUTPUTS, generator=g, dtype=torch.float64)
    ends = torch.tensor(SIZES).cumsum(0).tolist()
    tasks = [torch.arange(end - size, end) for size, end in zip(SIZES, ends, strict=True)]
    return phi, y, start, tasks


def learned(phi, y, start, tasks, **settings):
    """The function after every task, [T, k, C], and the regression."""
    gram = phi @ phi.T
    regression = SequentialRegression(phi @ start)
    rows = []
    for at in tasks:
        rows.append(regression.learn(gram[:, at], at, y[at], **settings).function)
    return torch.stack(rows)


def test_one_block_triangular_solve_is_task_by_task_regression(problem):
    phi, y, start, tasks = problem
    n = len(y)
    gram = phi @ phi.T
    duals = sequential_duals(gram[:n, :n], SIZES, y - phi[:n] @ start)
    for t, function in enumerate(learned(*problem)):
        seen = int(tasks[t][-1]) + 1
        expected = phi @ start + gram[:, :seen] @ duals[:seen]
        torch.testing.assert_close(function, expected, rtol=EXACT, atol=EXACT)
    dense = torch.block_diag(*(torch.ones(s, s, dtype=torch.float64) for s in SIZES))
    lower = gram[:n, :n] * ((dense + torch.ones(n, n).tril()) > 0)
    torch.testing.assert_close(lower @ duals, y - phi[:n] @ start, rtol=EXACT, atol=EXACT)


def test_a_solve_of_training_that_stops_is_task_by_task_too(problem):
    phi, y, start, tasks = problem
    n, gram = len(y), phi @ phi.T

    def decay(modes):
        return modes.gradient_descent_decay(0.3, 4)

    duals = sequential_duals(gram[:n, :n], SIZES, y - phi[:n] @ start, decay)
    expected = learned(*problem, decay=decay)[-1]
    torch.testing.assert_close(phi @ start + gram[:, :n] @ duals, expected, rtol=EXACT, atol=EXACT)
    for at in tasks:  # the system that the docstring names, with the blocks on its diagonal made densely
        gram[at[0] : at[-1] + 1, at[-1] + 1 :] = 0
        own = gram[at][:, at]
        moved = torch.eye(len(at)) - torch.linalg.matrix_power(torch.eye(len(at)) - 0.3 * own, 4)
        gram[at[0] : at[-1] + 1, at[0] : at[-1] + 1] = own @ torch.linalg.inv(moved)
    torch.testing.assert_close(gram[:n, :n] @ duals, y - phi[:n] @ start, rtol=EXACT, atol=EXACT)


def test_what_is_forgotten_comes_from_later_tasks(problem):
    phi, y, start, tasks = problem
    n = len(y)
    gram = phi @ phi.T
    duals = sequential_duals(gram[:n, :n], SIZES, y - phi[:n] @ start)
    left = forgotten_residuals(gram[:n, :n], SIZES, duals)
    torch.testing.assert_close(left, y - learned(*problem)[-1][:n], rtol=EXACT, atol=EXACT)
    assert not left[tasks[-1]].any()
    two = duals[tasks[1]]
    before, after = learned(*problem)[:2]
    moved = (after - before)[tasks[0]].square().sum()
    assert forgetting_by_overlap(gram[tasks[0]][:, tasks[1]], two) == pytest.approx(float(moved), rel=EXACT)


def test_gradient_flow_of_a_linear_model_ends_there(problem):
    """Weights integrated over a long time, task by task, by a solver that knows no kernel."""
    phi, y, weights, tasks = problem
    for at, expected in zip(tasks, learned(*problem), strict=True):
        features, targets = phi[at], y[at]

        def slope(_, w, features=features, targets=targets):
            residual = features @ torch.as_tensor(w).reshape(FEATURES, OUTPUTS) - targets
            return -(features.T @ residual).flatten().numpy()

        slowest = float(torch.linalg.eigvalsh(features @ features.T)[0])
        solved = solve_ivp(slope, (0, 30 / slowest), weights.flatten().numpy(), rtol=1e-10, atol=1e-12)
        weights = torch.as_tensor(solved.y[:, -1]).reshape(FEATURES, OUTPUTS)
        torch.testing.assert_close(phi @ weights, expected, rtol=FLOW, atol=FLOW)


@pytest.mark.parametrize("steps", [1, 9])
def test_steps_of_gradient_descent_are_those_of_the_weights(problem, steps):
    phi, y, weights, tasks = problem
    found = learned(*problem, decay=lambda modes: modes.gradient_descent_decay(0.3, steps))
    for at, expected in zip(tasks, found, strict=True):
        for _ in range(steps):
            weights = weights - 0.3 * phi[at].T @ (phi[at] @ weights - y[at])
        torch.testing.assert_close(phi @ weights, expected, rtol=EXACT, atol=EXACT)


def test_functions_of_several_training_budgets_are_learned_together(problem):
    phi, y, start, tasks = problem
    gram = phi @ phi.T
    stops = torch.tensor([1, 4, 20])
    together = SequentialRegression((phi @ start).expand(3, -1, -1))
    for at in tasks:
        together.learn(gram[:, at], at, y[at], decay=lambda modes: modes.gradient_flow_decay(stops))
    for i, stop in enumerate(stops):
        alone = learned(*problem, decay=lambda modes, stop=stop: modes.gradient_flow_decay(stop))[-1]
        torch.testing.assert_close(together.function[i], alone, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("columns", [(0, 1, 2), (1,), (0, 2)])
def test_a_kernel_of_all_pairs_of_outputs_that_do_not_interact_is_the_shared_one(problem, columns):
    phi, y, start, tasks = problem
    gram, eye = phi @ phi.T, torch.eye(OUTPUTS, dtype=torch.float64)
    shared, full = SequentialRegression(phi @ start), SequentialRegression(phi @ start)
    for at in tasks:
        targets = y[at][:, list(columns)]
        shared.learn(gram[:, at], at, targets, columns=columns)
        pairs = torch.einsum("kn,ab->knab", gram[:, at], eye)[..., list(columns)]
        full.learn(pairs, at, targets, columns=columns)
    torch.testing.assert_close(full.function, shared.function, rtol=ITERATED, atol=ITERATED)


def test_one_function_becomes_one_for_every_training_budget(problem):
    phi, y, start, tasks = problem
    at, kernel = tasks[0], (phi @ phi.T)[:, tasks[0]]
    pairs = torch.einsum("kn,ab->knab", kernel, torch.eye(OUTPUTS, dtype=torch.float64))
    stops = torch.tensor([0, 3])
    for k in (kernel, pairs):
        found = SequentialRegression(phi @ start)
        found.learn(k, at, y[at], decay=lambda modes: modes.gradient_descent_decay(0.3, stops))
        torch.testing.assert_close(found.function[0], phi @ start, rtol=0, atol=0)
        alone = learned(*problem, decay=lambda modes: modes.gradient_descent_decay(0.3, 3))[0]
        torch.testing.assert_close(found.function[1], alone, rtol=EXACT, atol=EXACT)


def test_interacting_outputs_take_the_steps_that_the_weights_take():
    g = torch.Generator().manual_seed(2)
    jacobian = torch.randn(9, 3, 20, generator=g, dtype=torch.float64) / 20**0.5  # [k, C, P]
    start = torch.randn(20, generator=g, dtype=torch.float64)
    tasks = [(torch.arange(4), [0, 2]), (torch.arange(4, 7), [2, 1])]  # columns in any order
    stops = torch.tensor([0, 1, 6])
    regression = SequentialRegression((jacobian @ start).expand(3, -1, -1))
    weights = [start] * 3
    for at, columns in tasks:
        y = torch.randn(len(at), 2, generator=g, dtype=torch.float64)
        kernel = torch.einsum("kap,nbp->knab", jacobian, jacobian[at])[..., columns]
        regression.learn(kernel, at, y, columns=columns, decay=lambda m: m.gradient_descent_decay(0.2, stops))
        own = jacobian[at][:, columns]  # [n, c, P]
        for i, stop in enumerate(stops):
            for _ in range(stop):
                weights[i] = weights[i] - 0.2 * torch.einsum("ncp,nc->p", own, own @ weights[i] - y)
            torch.testing.assert_close(regression.function[i], jacobian @ weights[i], rtol=EXACT, atol=EXACT)


def test_inputs_that_come_twice_are_given_the_mean_of_their_targets(problem):
    phi, y, start, tasks = problem
    at = torch.cat([tasks[0], tasks[0]])
    targets = torch.cat([y[tasks[0]], -3 * y[tasks[0]]])
    found = SequentialRegression(phi @ start).learn((phi @ phi.T)[:, at], at, targets).function
    torch.testing.assert_close(found[tasks[0]], -y[tasks[0]], rtol=ITERATED, atol=ITERATED)


def test_outputs_that_do_interact_move_together():
    """A network of two outputs that share all weights but a factor: its full kernel has off-diagonal blocks."""
    g = torch.Generator().manual_seed(1)
    jacobian = torch.randn(9, 2, 12, generator=g, dtype=torch.float64)  # [k, C, P]
    weights = torch.randn(12, generator=g, dtype=torch.float64)
    y = torch.randn(4, 1, generator=g, dtype=torch.float64)
    at = torch.arange(4)
    kernel = torch.einsum("kap,nbp->knab", jacobian, jacobian[at])[..., [1]]
    regression = SequentialRegression(jacobian @ weights).learn(kernel, at, y, columns=[1])
    own = jacobian[at, 1]
    step = torch.linalg.lstsq(own, y[:, 0] - own @ weights, driver="gelsd").solution
    torch.testing.assert_close(regression.function, jacobian @ (weights + step), rtol=ITERATED, atol=ITERATED)


def test_separate_heads_never_meet_in_a_shared_kernel(problem):
    """What a head has learned stays as it is, bit for bit, at every point, even if a later task diverges."""
    phi, y, start, tasks = problem
    gram = phi @ phi.T
    regression = SequentialRegression(phi @ start)
    functions = []
    for t, at in enumerate(tasks[:2]):
        regression.learn(gram[:, at], at, y[at][:, [t]], columns=[t])
        functions.append(regression.function)
        torch.testing.assert_close(regression.function[at, t], y[at, t], rtol=ITERATED, atol=ITERATED)
    assert torch.equal(functions[1][:, 0], functions[0][:, 0])
    assert torch.equal(functions[0][:, 1:], (phi @ start)[:, 1:])
    at = tasks[2]
    regression.learn(
        gram[:, at], at, y[at][:, [2]], columns=[2], decay=lambda m: m.gradient_descent_decay(1e3, 9999)
    )
    assert not torch.isfinite(regression.function[:, 2]).any()
    assert torch.equal(regression.function[:, :2], functions[1][:, :2])


def test_orthogonal_gradients_keep_every_task_and_end_where_joint_training_does(problem):
    phi, y, start, tasks = problem
    n = len(y)
    gram = phi @ phi.T
    regression = SequentialRegression(phi @ start)
    for t, at in enumerate(tasks):
        stored = torch.cat([tasks[0][:0], *tasks[:t]])
        regression.learn(project_out(gram, stored)[:, at], at, y[at])
        for earlier in tasks[: t + 1]:
            torch.testing.assert_close(regression.function[earlier], y[earlier], rtol=ITERATED, atol=ITERATED)
    joint = phi @ start + gram[:, :n] @ joint_duals(gram[:n, :n], y - phi[:n] @ start)
    torch.testing.assert_close(regression.function, joint, rtol=ITERATED, atol=ITERATED)


def test_projected_features_make_the_projected_kernel(problem):
    phi, _, _, tasks = problem
    stored = tasks[0]
    basis = torch.linalg.qr(phi[stored].T).Q
    rest = phi - (phi @ basis) @ basis.T
    torch.testing.assert_close(project_out(phi @ phi.T, stored), rest @ rest.T, rtol=EXACT, atol=EXACT)
    twice = torch.cat([stored, stored[:2]])  # a Gram matrix that is singular
    torch.testing.assert_close(project_out(phi @ phi.T, twice), rest @ rest.T, rtol=ITERATED, atol=ITERATED)


def test_overlap_is_one_with_oneself_and_nothing_between_tasks_without_common_features(problem):
    phi, _, _, tasks = problem
    grams = [[phi[a] @ phi[b].T for b in tasks] for a in tasks]
    overlap = task_overlap(grams)
    torch.testing.assert_close(overlap.diagonal(), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(overlap, overlap.T)
    assert 0 < overlap[0, 1] < 1
    apart = [phi[tasks[0]] * (torch.arange(FEATURES) < 10), phi[tasks[1]] * (torch.arange(FEATURES) >= 10)]
    assert task_overlap([[a @ b.T for b in apart] for a in apart])[0, 1] == 0


def test_an_example_that_comes_again_cannot_be_unlearned_by_orthogonal_gradients(problem):
    """Its features are spanned: nothing moves, in place of what is left of them by rounding being divided by."""
    phi, y, start, tasks = problem
    first, again = tasks[0], torch.arange(len(phi), len(phi) + 2)
    phi = torch.cat([phi, phi[first[:2]]])
    gram = phi @ phi.T
    regression = SequentialRegression(phi @ start).learn(gram[:, first], first, y[first])
    before = regression.function
    regression.learn(project_out(gram, first)[:, again], again, -y[first[:2]])
    assert torch.equal(regression.function, before)


def test_kernels_in_single_precision_are_judged_as_such(problem):
    """Of an example that is the sum of two others nothing is new, though single rounding looks like something."""
    phi, _, _, tasks = problem
    phi = torch.cat([phi, phi[:1] + phi[1:2]])
    basis = torch.linalg.qr(phi[tasks[0]].T).Q
    rest = phi - (phi @ basis) @ basis.T
    gram = phi.float() @ phi.float().T
    projected = project_out(gram, torch.cat([tasks[0], torch.tensor([len(phi) - 1])]))
    torch.testing.assert_close(projected, rest @ rest.T, rtol=SINGLE, atol=SINGLE)
    again = [0, 1, len(phi) - 1]
    for duals in (joint_duals, lambda k, r: sequential_duals(k, [3], r)):
        with (
            pytest.warns(AccuracyWarning, match="in float32.*compute the kernel in float64"),
            pytest.warns(JitterWarning) as caught,
        ):
            duals(gram[again][:, again], torch.tensor([[1.0], [1.0], [-1.0]]))
        added = float(str(caught[0].message).split(": ")[1].split(" was")[0])
        assert added > torch.finfo(torch.float32).eps  # less would be lost in the entries' own rounding


def test_overlap_and_forgetting_are_those_of_singular_vectors(problem):
    """Doan et al. (2021): the overlap matrix V_s'V_t of the tasks' features, and what it makes of a residual."""
    phi, y, start, tasks = problem
    (_, sigma_s, v_s), (u_t, sigma_t, v_t) = (torch.linalg.svd(phi[at], full_matrices=False) for at in tasks[:2])
    angles = v_s @ v_t.T
    weighted = (sigma_s[:, None] ** 2 * sigma_t**2 * angles**2).sum()
    expected = (weighted / ((sigma_s**4).sum() * (sigma_t**4).sum()).sqrt()).sqrt()
    overlap = task_overlap([[phi[a] @ phi[b].T for b in tasks] for a in tasks])
    torch.testing.assert_close(overlap[0, 1], expected, rtol=EXACT, atol=EXACT)

    n, gram = len(y), phi @ phi.T
    duals = sequential_duals(gram[:n, :n], SIZES, y - phi[:n] @ start)
    left = y[tasks[1]] - learned(*problem)[0][tasks[1]]  # before the second task
    moved = sigma_s[:, None] * (angles @ ((u_t.T @ left) / sigma_t[:, None]))
    found = forgetting_by_overlap(gram[tasks[0]][:, tasks[1]], duals[tasks[1]])
    assert found == pytest.approx(float(moved.square().sum()), rel=EXACT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernel": torch.ones(4, 3)}, "must have shape"),
        ({"kernel": torch.full((25, 5), torch.nan)}, "NaN or infinite"),
        ({"at": torch.arange(30, 35)}, "0 to 21"),
        ({"at": torch.arange(5) - 1}, "from -1 to 3"),
        ({"at": torch.arange(22) < 5}, "indices from 0 to 21 in one dimension, got torch.bool"),
        ({"at": torch.arange(5.0)}, "got torch.float32"),
        ({"at": []}, "at least one"),
        ({"targets": torch.ones(5, 2)}, "the targets of a task"),
        ({"columns": [0, 1, 1]}, "cannot be about the columns"),
        ({"decay": lambda _: torch.ones(4)}, "decay must hold the factors"),
        ({"columns": [0, 1, 5]}, "cannot be about the columns"),
        ({"modes": KernelModes(torch.eye(3, dtype=torch.float64))}, "modes are of 3 rows"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(problem, change, words):
    phi, y, start, tasks = problem
    gram, at = phi @ phi.T, tasks[0]
    settings = {"kernel": gram[:, at], "at": at, "targets": y[at], "columns": None, "modes": None} | change
    if "kernel" in change and change["kernel"].shape == (25, 5):
        settings["kernel"] = torch.full_like(gram[:, at], torch.nan)
    with pytest.raises(KernelError, match=words):
        SequentialRegression(phi @ start).learn(
            settings.pop("kernel"), settings.pop("at"), settings.pop("targets"), **settings
        )


def test_other_arguments_are_refused_by_name(problem):
    phi, y, _, _ = problem
    n = len(y)
    gram = (phi @ phi.T)[:n, :n]
    with pytest.raises(KernelError, match="add up to the 16 rows"):
        sequential_duals(gram, [5, 5], y)
    with pytest.raises(KernelError, match="the residual"):
        sequential_duals(gram, SIZES, y[:-1])
    with pytest.warns(JitterWarning), pytest.warns(AccuracyWarning, match=r"\(rows 0 = 1\)"):
        sequential_duals(torch.ones(4, 4, dtype=torch.float64), [2, 2], y[:4])
    with pytest.raises(KernelError, match="indices from 0 to 15"):
        project_out(gram, torch.tensor([99]))
    with pytest.raises(KernelError, match=r"indices from 0 to 15 in one dimension, got torch.bool"):
        project_out(gram, torch.arange(16) < 5)
    with pytest.raises(KernelError, match=r"the kernel of tasks 0 and 1 must have shape \(3, 13\), got \(3, 12\)"):
        task_overlap([[gram[:3, :3], gram[:3, 3:15]], [gram[3:, :3], gram[3:, 3:]]])
    with pytest.raises(KernelError, match="kernel of task 1 with itself is zero"):
        task_overlap([[gram, gram], [gram, 0 * gram]])
    with pytest.raises(KernelError, match=r"the duals of a task must have shape \(13, any\)"):
        forgetting_by_overlap(gram[:3, 3:], y)
    with pytest.raises(KernelError, match=r"decay factors of shape \(2, 16\)"):
        SequentialRegression(torch.zeros(3, 16, OUTPUTS)).learn(
            gram, torch.arange(16), y, decay=lambda modes: modes.gradient_flow_decay(torch.tensor([1.0, 2.0]))
        )
    with pytest.raises(KernelError, match=r"must hold floating-point numbers of shape \(..., k, C\)"):
        SequentialRegression(torch.zeros(4))
    with pytest.raises(KernelError, match="T lists of T"):
        task_overlap([[gram], [gram]])
    with pytest.raises(KernelError, match="NaN or infinite"):
        SequentialRegression(torch.full((2, 1), torch.nan))


def test_a_kernel_that_is_applied_is_the_one_that_is_formed(generator):
    """Of all pairs of outputs, of a task about two of three, for several training budgets."""
    jacobian = torch.randn(9, OUTPUTS, FEATURES, generator=generator, dtype=torch.float64) / FEATURES**0.5
    at, columns = torch.tensor([3, 1, 6, 2]), [2, 0]
    kernel = torch.einsum("kap,nbp->knab", jacobian, jacobian[at])[..., columns]
    y = torch.randn(len(at), 2, generator=generator, dtype=torch.float64)
    start = torch.randn(3, 9, OUTPUTS, generator=generator, dtype=torch.float64)

    def decay(modes):
        return modes.gradient_descent_decay(0.1, torch.tensor([1, 5, 50]))

    applied = AppliedKernel(kernel[at][:, :, columns], lambda u: torch.einsum("knab,...nb->...ka", kernel, u))
    formed, found = (
        SequentialRegression(start).learn(k, at, y, columns=columns, decay=decay).function
        for k in (kernel, applied)
    )
    torch.testing.assert_close(found, formed, rtol=EXACT, atol=EXACT)
    with pytest.raises(KernelError, match=r"K\(X_t, X_t\) must have shape \(4, 4, 2, 2\)"):
        SequentialRegression(start).learn(AppliedKernel(kernel[at], applied.product), at, y, columns=columns)
