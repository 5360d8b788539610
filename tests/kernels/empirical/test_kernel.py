"""The kernel's forms, blocks and plans: all the same numbers."""

import re
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError
from ntkgap.kernels.empirical import jacobian, plan_ntk
from ntkgap.kernels.empirical.contraction import contract, mirror
from ntkgap.linalg import as_matrix
from tests.kernels.empirical.cases import CASES
from tests.kernels.empirical.conftest import relative_error
from tests.kernels.empirical.tolerances import EXACT_F32, EXACT_F64
from tests.reference.empirical import batched_jacobian, kernel

BY_NAME = {case.name: case for case in CASES}
VARIED = [
    "mlp ntk bias",
    "conv2d groups",
    "conv transpose groups",
    "tied embedding",
    "transformer with class token",
    "einsum",
    "outputs [n]",
]
varied = pytest.mark.parametrize("name", VARIED)


def forms(full):
    diagonal = full.diagonal(dim1=2, dim2=3)
    return {
        "full": full,
        "diagonal": diagonal,
        "mean": diagonal.mean(2),
        "sum": full.sum((2, 3)) / full.shape[2],
    }


def smallest_budget(*args):
    """The budget that a refusal asks for: a plan accepts it, and nothing below nine tenths of it."""
    with pytest.raises(KernelError, match="bytes; raise it") as refusal:
        plan_ntk(*args, memory_budget=1)
    least = int(re.search(r"takes about (\d+) bytes", str(refusal.value))[1])
    with pytest.raises(KernelError):
        plan_ntk(*args, memory_budget=9 * least // 10)
    plan_ntk(*args, memory_budget=least)
    return least


@cache
def truth(name, symmetric):
    """Every form of the kernel of 7 examples, or of those and 5 others."""
    case = BY_NAME[name]
    j1 = batched_jacobian(case.model(), case.inputs(7))
    return forms(kernel(j1, None if symmetric else batched_jacobian(case.model(), case.inputs(5, seed=2))))


@varied
@pytest.mark.parametrize("outputs", ["full", "diagonal", "mean", "sum"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_every_form_in_blocks_of_any_size(name, outputs, symmetric):
    case = BY_NAME[name]
    model, x1, x2 = case.model(), case.inputs(7), None if symmetric else case.inputs(5, seed=2)
    expected = truth(name, symmetric)[outputs]
    least = smallest_budget(model, x1, x2, outputs)
    blocks = set()
    for budget in (None, least, least * 2, least * 4):
        plan = plan_ntk(model, x1, x2, outputs, memory_budget=budget)
        blocks.add((plan.rows, plan.columns, plan.classes))
        got = ng.empirical_ntk(model, x1, x2, outputs, memory_budget=budget)
        assert relative_error(got, expected) <= EXACT_F64
    assert len(blocks) > 1  # the budgets did change the blocks
    layers = ng.empirical_ntk(model, x1, x2, outputs, layerwise=True)
    assert set(layers) == {k.rpartition(".")[0] for k, p in model.named_parameters()}
    assert relative_error(sum(layers.values()), expected) <= EXACT_F64


@pytest.mark.parametrize(
    "name",
    [
        "tokens",
        "conv2d stride padding",
        "conv2d groups",
        "conv transpose 2d",
        "conv transpose groups",
        "recurrent loop",
    ],
)
@pytest.mark.parametrize("order", ["gradients", "positions", "pairs"])
@pytest.mark.parametrize("scratch", [1, 5000, 2**30])
def test_all_orders_of_contraction_agree(name, order, scratch):
    case = BY_NAME[name]
    model = case.model()
    one, two = jacobian(model, case.inputs(5)), jacobian(model, case.inputs(3, seed=2))
    for other in (one, two):
        expected = one.gram(other)
        n1, n2, c, _ = expected.shape
        got = torch.zeros(c, n1, c, n2, dtype=torch.float64)
        contract(lambda _, k=got: k, one.terms, other.terms, other is one, scratch, order)
        if other is one:
            mirror(got)
        assert relative_error(got.permute(1, 3, 0, 2), expected) <= EXACT_F64


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(VARIED),
    n=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    outputs=st.sampled_from(["full", "mean", "diagonal", "sum"]),
)
def test_what_any_tangent_kernel_obeys(name, n, seed, outputs):
    case = BY_NAME[name]
    model, x = case.model(), case.inputs(n, seed)
    full = ng.empirical_ntk(model, x)
    gram = as_matrix(full)
    assert relative_error(gram, gram.T.contiguous()) <= EXACT_F64  # symmetric
    assert float(torch.linalg.eigvalsh(gram)[0]) >= -EXACT_F64 * float(gram.diagonal().max())  # semidefinite
    got = ng.empirical_ntk(model, x, outputs=outputs)
    assert relative_error(got, forms(full)[outputs]) <= EXACT_F64  # the forms belong together
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert relative_error(ng.empirical_ntk(model, x[order], outputs=outputs), got[order][:, order]) <= EXACT_F64
    names = [k for k, _ in model.named_parameters()]
    cut = seed % (len(names) - 1) + 1
    parts = [ng.empirical_ntk(model, x, outputs=outputs, parameters=some) for some in (names[:cut], names[cut:])]
    assert relative_error(parts[0] + parts[1], got) <= EXACT_F64  # additive over parameters
    k = seed % n
    assert (
        relative_error(ng.empirical_ntk(model, x[k : k + 1], x, outputs), got[k : k + 1]) <= EXACT_F64
    )  # batch size


def test_precision_is_chosen_by_dtype():
    model, x = BY_NAME["conv2d groups"].model().float(), BY_NAME["conv2d groups"].inputs(4).float()
    double = ng.empirical_ntk(model, x, dtype=torch.float64)
    assert double.dtype == torch.float64
    assert relative_error(ng.empirical_ntk(model, x).double(), double) <= EXACT_F32
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_non_contiguous_inputs():
    case = BY_NAME["conv2d groups"]
    model, x = case.model(), case.inputs(4)
    strided = x.transpose(2, 3).contiguous().transpose(2, 3)[::2]
    assert not strided.is_contiguous()
    expected = ng.empirical_ntk(model, strided.contiguous())
    assert relative_error(ng.empirical_ntk(model, strided), expected) <= EXACT_F64


def test_a_jacobian_outlives_changes_of_model_and_inputs():
    for name in ("mlp ntk bias", "conv2d groups", "embedding", "learned start"):
        case = BY_NAME[name]
        model, x = case.model(), case.inputs(4)
        at = jacobian(model, x)
        before = at.gram().clone()
        with torch.no_grad():
            for p in model.parameters():
                p.zero_()
            x.zero_()
        assert torch.equal(at.gram(), before)


def test_a_difference_of_jacobians_does_not_cancel():
    model = ng.MLP(5, 2, 32, 2, "erf").float()
    x = torch.randn(6, 5)
    start = jacobian(model, x)
    exact_start = jacobian(model, x, dtype=torch.float64)
    with torch.no_grad():
        for p in model.parameters():
            p += 1e-4 * torch.randn_like(p)
    exact = jacobian(model, x, dtype=torch.float64) - exact_start
    change = jacobian(model, x) - start
    expected = torch.linalg.eigvalsh(as_matrix(exact.gram()))[-1]
    got = torch.linalg.eigvalsh(as_matrix(change.gram()).double())[-1]
    assert abs(float(got / expected) - 1) < 0.02
    # Subtracting Gram matrices in the same precision leaves nothing of it.
    now = jacobian(model, x)
    naive = now.gram() + start.gram() - now.gram(start) - start.gram(now)
    assert abs(float(torch.linalg.eigvalsh(as_matrix(naive).double())[-1] / expected) - 1) > 0.2


def test_the_plan_tells_what_is_done():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return torch.stack([one * self.w for one in x])  # example by example: no axis of examples

    text = str(plan_ntk(Hidden(), torch.randn(4, 3)))
    assert "fallback" in text
    plan = plan_ntk(BY_NAME["conv2d"].model(), BY_NAME["conv2d"].inputs(4))
    shape, cost = plan.layers["0.weight"]
    assert (shape.positions, shape.groups, shape.out, shape.into) == (9, 1, 4, 18)
    assert cost.order in ("gradients", "positions", "pairs")
    assert plan.flops >= cost.flops > 0


def test_the_mean_kernel_plans_fewer_flops():
    model, x = ng.MLP(20, 10, 64, 2), torch.randn(30, 20)
    assert plan_ntk(model, x, outputs="mean").flops < 0.5 * plan_ntk(model, x).flops


def test_explain_prints_the_plan(capsys):
    ng.empirical_ntk(ng.MLP(4, 2, 8, 1), torch.randn(3, 4), explain=True)
    assert "1.weight" in capsys.readouterr().out
