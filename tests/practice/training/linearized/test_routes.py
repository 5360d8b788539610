"""J w and Jᵀv against one backward pass a row on the user's own network, whatever the network is made of."""

import copy
from functools import cache

import pytest
import torch
from torch import nn

import ntkgap as ng
from tests.kernels.empirical.cases import CASES
from tests.kernels.empirical.modules import With
from tests.practice.training.linearized.networks import HARD
from tests.reference.empirical import row_jacobian
from tests.tolerances import EXACT, ITERATED, SINGLE

NETWORKS = {case.name: case for case in CASES} | HARD
hard = pytest.mark.parametrize("name", HARD)
PRECISIONS = {torch.float64: EXACT, torch.float32: SINGLE}


def setting(name, dtype=torch.float64):
    case = NETWORKS[name]
    if name in HARD:
        return case.model(dtype), case.inputs(dtype)
    return case.model(), case.inputs(4)


@cache
def truth(name):
    """f [n, ...] and J [n, C, P] in double precision, of networks that may change themselves or their inputs."""
    model, x = setting(name)
    names = [key for key, p in model.named_parameters() if p.requires_grad]
    jacobian = row_jacobian(model, x.clone(), names)
    return setting(name)[0](x.clone()).detach(), jacobian


def perturbed(linearized, size=0.3):
    """θ − θ0, flat, after a random step."""
    generator = torch.Generator().manual_seed(2)
    own = [p for p in linearized.parameters() if p.requires_grad]
    steps = [size * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p) for p in own]
    with torch.no_grad():
        for p, step in zip(own, steps, strict=True):
            p += step
    return torch.cat([step.flatten() for step in steps]).double()


def gradient(linearized, outputs, v):
    own = [p for p in linearized.parameters() if p.requires_grad]
    grads = torch.autograd.grad(outputs, own, v.to(outputs), allow_unused=True)
    pairs = zip(grads, own, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


def assert_near(found, expected, tolerance):
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance * max(scale, 1e-6))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.float64) for name in NETWORKS] + [(name, torch.float32) for name in HARD],
    ids=str,
)
def test_value_and_gradient(name, dtype):
    outputs, jacobian = truth(name)
    model, x = setting(name, dtype)
    linearized, tolerance = ng.linearize(model), PRECISIONS[dtype]
    assert_near(linearized(x), outputs, tolerance)
    step = perturbed(linearized)
    expected = outputs + (jacobian @ step).view(outputs.shape)
    assert_near(linearized(x), expected, tolerance)
    v = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert_near(
        gradient(linearized, linearized(x), v),
        torch.einsum("icp,ic->p", jacobian, v.reshape(len(v), -1)),
        tolerance,
    )
    with torch.no_grad():
        assert_near(linearized(x), expected, tolerance)


@hard
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_the_cheapest_route_that_is_right_is_taken_and_told(name, dtype):
    model, x = setting(name, dtype)
    linearized = ng.linearize(model)
    assert "derivative: chosen at the first call" in repr(linearized)
    linearized(x)
    assert f"derivative: {HARD[name].expected(dtype)}\n" in repr(linearized)


@pytest.mark.parametrize("name", ["norm without gradient", "function with wrong forward mode", "segments"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sixteen_bits_are_enough_to_tell(name, dtype):
    model, x = setting(name, dtype)
    linearized = ng.linearize(model)
    assert linearized(x).dtype == dtype
    assert f"derivative: {HARD[name].route}\n" in repr(linearized)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_follows_the_kernel(name):
    start, jacobian = truth(name)
    model, x = setting(name)
    linearized = ng.linearize(model)
    if name not in HARD or HARD[name].kernel:
        kernel = ng.as_matrix(ng.empirical_ntk(model, x))
    else:
        kernel = jacobian.flatten(0, 1) @ jacobian.flatten(0, 1).T
    targets = torch.randn(start.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    residual, rate = (start - targets).flatten(), 1.0 / max(float(torch.linalg.eigvalsh(kernel).max()), 1e-3)
    optimizer = torch.optim.SGD([p for p in linearized.parameters() if p.requires_grad], rate)
    for _ in range(20):
        optimizer.zero_grad()
        (0.5 * (linearized(x) - targets).square()).sum().backward()
        optimizer.step()
        residual = residual - rate * kernel @ residual
    assert_near((linearized(x) - targets).detach().flatten(), residual, ITERATED)


@pytest.mark.parametrize("name", ["old function", "function once differentiable", "encoder layer", "detached"])
def test_derivatives_of_any_order(name):
    """⟨Jᵀv, w⟩ and its derivative with respect to v, J w, of which the same can be asked again."""
    _, jacobian = truth(name)
    model, x = setting(name)
    linearized = ng.linearize(model)
    own = list(linearized.parameters())
    out = linearized(x)
    v = torch.randn_like(out).requires_grad_()
    w = [torch.randn_like(p).requires_grad_() for p in own]
    flat = torch.cat([d.detach().flatten() for d in w])
    once = torch.autograd.grad(out, own, v, create_graph=True)
    (twice,) = torch.autograd.grad(once, v, w, create_graph=True)
    assert_near(twice.detach(), (jacobian @ flat).view_as(twice), EXACT)
    thrice = torch.autograd.grad(twice, w, v.detach())
    expected = torch.einsum("icp,ic->p", jacobian, v.detach().reshape(len(v), -1))
    assert_near(torch.cat([g.flatten() for g in thrice]), expected, EXACT)


def test_the_check_is_made_once_for_each_kind_of_input(monkeypatch):
    import ntkgap.practice.training.linearized.linearized_model as module

    calls = []
    find_route = module.find_route
    monkeypatch.setattr(module, "find_route", lambda *args: calls.append(1) or find_route(*args))
    linearized = ng.linearize(nn.Sequential(nn.Linear(4, 3), nn.Tanh()))
    for n in (5, 5, 7, 1, 1):  # one example alone may go another way
        linearized(torch.randn(n, 4)).sum().backward()
    assert len(calls) == 2
    copy.deepcopy(linearized)(torch.randn(5, 4))
    assert len(calls) == 3
    with torch.no_grad():
        linearized(torch.randn(5, 4))
    assert len(calls) == 4


def test_what_says_nothing_is_not_remembered():
    """At inputs of zero all derivatives are zero, right or wrong."""

    def forward(m, x):
        with torch.no_grad():
            s = torch.exp(m.a(x))
        return m.a(x) * s

    model = With(forward, a=nn.Linear(4, 3, bias=False)).double()
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    linearized = ng.linearize(model)
    linearized(torch.zeros(2, 4, dtype=torch.float64))
    assert linearized(x[:0]).shape == (0, 3)
    assert "chosen at the first call" in repr(linearized)
    step = perturbed(linearized)
    expected = model(x).detach() + (row_jacobian(model, x) @ step).view(5, 3)
    assert_near(linearized(x), expected, EXACT)
    assert "double backward" in repr(linearized)
