"""Networks whose structure on a few examples is not that of all: exact all the same, or refused."""

import copy
import types

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import KernelError, ModelError
from ntkgap.kernels import jacobian
from tests.kernels.empirical.modules import With
from tests.kernels.empirical.tolerances import EXACT_F64
from tests.reference.empirical import kernel, row_jacobian

FORMS = ("full", "mean", "diagonal", "sum")


def reference(model, x1, x2=None):
    """The full kernel from one backward pass a row."""
    j1 = row_jacobian(model, x1)
    return kernel(j1, j1 if x2 is None else row_jacobian(model, x2))


def in_form(full, outputs):
    diagonal = full.diagonal(dim1=2, dim2=3)
    forms = {"full": full, "diagonal": diagonal, "mean": diagonal.mean(2), "sum": full.sum((2, 3)) / full.shape[2]}
    return forms[outputs]


def check(model, x1, x2=None, **settings):
    model = model.double()
    expected = reference(model, x1, x2)
    for outputs in FORMS:
        right = in_form(expected, outputs)
        found = ng.empirical_ntk(model, x1, x2, outputs, **settings)
        assert (found - right).abs().max() <= EXACT_F64 * right.abs().max(), outputs


def linear_pair(d=3, h=5):
    return {"a": nn.Linear(d, h), "b": nn.Linear(h, 2)}


def sorted_batch(m, x):
    order = x[:, 0].argsort()
    return m.b(torch.tanh(m.a(x[order])))[order.argsort()]


def experts(m, x):
    first = x[:, 0] > 0
    out = torch.empty(len(x), 2, dtype=x.dtype)
    out[first], out[~first] = m.b(torch.tanh(m.a(x[first]))), m.b(torch.sin(m.a(x[~first])))
    return out


def position_major(m, x):
    t = x.shape[1]
    h = torch.tanh(m.a(x.transpose(0, 1).reshape(t * len(x), -1)))
    return m.b(h.view(t, len(x), -1).mean(0))


class Hidden(torch.autograd.Function):
    """A product that no rule knows."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g


@pytest.fixture
def x():
    return torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_a_batch_that_is_sorted_inside(x):
    model = With(sorted_batch, **linear_pair())
    some = x.clone()
    some[[0, 4, 7], 0] = torch.tensor([-5.0, 0.0, 5.0]).double()  # the probe is in order, the batch is not
    check(model, some)
    check(model, some, memory_budget=20_000)


def test_examples_that_go_different_ways(x):
    some = x.clone()
    some[[0, 4, 7], 0] = 1.0  # all of the probe goes one way
    check(With(experts, **linear_pair()), some)


@pytest.mark.parametrize("blank", [[0, 4, 7], [0, 1, 2]])
def test_examples_that_are_zero_show_nothing(blank):
    some = torch.randn(8, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    some[blank] = 0
    check(With(position_major, **linear_pair()), some)
    flat = some.flatten(1)
    model = With(lambda m, x: m.b(torch.tanh(Hidden.apply(x, m.a.weight.T))), **linear_pair(12))
    check(model, flat)


def test_lengths_that_differ_between_x1_and_x2():
    """One position in x1, three in x2: factors of different kinds meet in one product."""
    model = With(lambda m, x: m.b(torch.tanh(m.a(x)).mean(1)), a=nn.Linear(1, 5), b=nn.Linear(5, 2))
    x1, x2 = torch.randn(4, 1, 1, dtype=torch.float64), torch.randn(3, 3, 1, dtype=torch.float64)
    check(model, x1, x2)
    check(model, x2, x1)


def test_tables_read_once_here_and_thrice_there():
    def recurrent(m, x):
        h = torch.zeros(len(x), 4, dtype=m.emb.weight.dtype)
        for t in range(x.shape[1]):
            h = torch.tanh(m.emb(x[:, t]) + h)
        return m.b(h)

    model = With(recurrent, emb=nn.Embedding(7, 4), b=nn.Linear(4, 3))
    check(model, torch.randint(7, (4, 1)), torch.randint(7, (3, 3)))


def test_slices_of_a_parameter_that_depend_on_the_length():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.pos = nn.Linear(3, 4), nn.Linear(4, 2), nn.Parameter(torch.randn(6, 4))

        def forward(self, x):
            last = self.pos[x.shape[1] - 1]
            return self.b(torch.tanh(self.a(x[:, -1]) + last + self.pos[: x.shape[1]].sum(0)))

    x1, x2 = torch.randn(3, 5, 3, dtype=torch.float64), torch.randn(4, 3, 3, dtype=torch.float64)
    check(Positions(), x1, x2)


def test_a_change_of_the_kernel_includes_buffers(x):
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).double().eval()
    start = copy.deepcopy(model)
    with torch.no_grad():
        model[1].running_mean += 0.5
        model[1].running_var *= 2.0
    change = row_jacobian(model, x) - row_jacobian(start, x)
    exact = torch.linalg.matrix_norm(change.flatten(0, 1), 2).item()
    for before in (start, start.state_dict()):
        assert float(ng.kernels.JacobianChange(model, before, x).jacobian_norm(1e-8)) == pytest.approx(
            exact, rel=1e-6
        )


class Centered(nn.Module):
    """Examples are coupled in the gradients of a batch, not in its outputs."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(40, 2)

    def forward(self, x):
        h = self.a(x)
        return h + (h - h.detach()).mean(0)


@pytest.mark.parametrize("budget", [20_000, 50_000, 200_000, None])
def test_the_budget_does_not_change_an_operator(budget):
    model = Centered().double()
    x = torch.randn(30, 40, dtype=torch.float64)
    dense = ng.as_matrix(reference(model, x))
    v = torch.randn(60, dtype=torch.float64)
    found = ng.NTKOperator(model, x, memory_budget=budget) @ v
    assert (found - dense @ v).abs().max() <= 1e-10 * found.abs().max()


@pytest.mark.parametrize(
    "forward",
    [
        lambda m, x: m.b(torch.tanh(m.a(x) - m.a(x).mean(0))),
        lambda m, x: m.b(torch.tanh(m.a(x))) * (1 + torch.relu(-x).sum()),
        lambda m, x: m.b(torch.tanh(m.a(x))) * (2.0 if len(x) > 3 else 1.0),
    ],
)
def test_coupling_that_the_probe_does_not_show(forward, x):
    some = x.clone()
    some[[0, 4, 7]] = some[0].abs()  # the examples of the probe are equal, and positive
    with pytest.raises(ModelError, match="other examples"):
        ng.empirical_ntk(With(forward, **linear_pair()).double(), some)


def test_a_weight_that_is_held_elsewhere(x):
    model = With(lambda m, x: m.b(torch.tanh(nn.functional.linear(x, m.held[0]))), **linear_pair()).double()
    model.held = [model.a.weight]  # in a container it is found
    check(model, x)
    weight, box = model.a.weight, types.SimpleNamespace(weight=model.a.weight)
    closed = With(lambda m, x: m.b(torch.tanh(nn.functional.linear(x, weight))), a=model.a, b=model.b)
    check(closed, x)  # so is it in a closure
    hidden = With(lambda m, x: m.b(torch.tanh(nn.functional.linear(x, box.weight))), a=model.a, b=model.b)
    with pytest.raises(ModelError, match=r"'a\.weight' through a reference of its own"):
        ng.empirical_ntk(hidden, x)


def test_overflow_is_refused_with_the_remedy():
    model = nn.Linear(3, 2)
    x = torch.full((4, 3), 1e30)
    with pytest.raises(KernelError, match=r"dtype=torch\.float64"):
        ng.empirical_ntk(model, x)
    assert torch.isfinite(ng.empirical_ntk(model, x, dtype=torch.float64)).all()


def test_few_examples_are_not_led_out_of_the_domain():
    ids = With(
        lambda m, x: m.b(m.a(x[:, 0]) + m.c(x[:, 1])),
        a=nn.Embedding(3, 4),
        c=nn.Embedding(100, 4),
        b=nn.Linear(4, 2),
    )
    check(ids, torch.tensor([[1, 90]]))
    check(
        With(lambda m, x: m.b(torch.tanh(m.a(torch.logit(x)))), **linear_pair()), torch.full((1, 3), 0.97).double()
    )


def test_calls_by_keyword_and_mixed_precision(x):
    keyword = With(lambda m, x: m.b(torch.tanh(torch.matmul(x, other=m.a.weight.T))), **linear_pair())
    check(keyword, x)
    moved = With(
        lambda m, x: m.b(torch.tanh(x @ torch.transpose(input=m.a.weight, dim0=0, dim1=1))), **linear_pair()
    )
    check(moved, x)
    mixed = With(lambda m, x: m.b(torch.tanh(m.a(x))).double(), **linear_pair())
    found = ng.empirical_ntk(mixed, x.float())
    expected = reference(copy.deepcopy(mixed).double(), x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_table_with_max_norm_is_left_alone():
    model = With(lambda m, x: m.b(m.a(x)), a=nn.Embedding(5, 3, max_norm=0.1), b=nn.Linear(3, 2))
    before = copy.deepcopy(model.a.weight)
    ng.empirical_ntk(model, torch.tensor([0, 1, 2, 3]))
    assert torch.equal(model.a.weight, before)


def test_a_recipe_from_other_data_is_checked_again(x):
    model = With(sorted_batch, **linear_pair()).double()
    in_order = x[x[:, 0].argsort()]
    recipe = jacobian(model, in_order).recipe
    expected = reference(model, x)
    assert (jacobian(model, x, recipe=recipe).gram() - expected).abs().max() <= EXACT_F64 * expected.abs().max()
