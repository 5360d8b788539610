"""What people who tried to break the kernels found: networks and calls that were wrong once."""

import contextvars

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import ntkgap as ng
from ntkgap.errors import KernelError, ModelError, NtkgapError
from tests.kernels.empirical.modules import With
from tests.kernels.empirical.tolerances import EXACT_F64
from tests.reference.empirical import kernel, row_jacobian

SCALE = contextvars.ContextVar("scale", default=1.0)


def near(found, right):
    assert (found - right).abs().max() <= EXACT_F64 * right.abs().max()


def right_kernel(model, x):
    """From one backward pass a row."""
    return kernel(row_jacobian(model, x)).detach()


def check(model, x):
    """The kernel, and both kinds of operators."""
    full = right_kernel(model, x)
    near(ng.empirical_ntk(model, x), full)
    gram = ng.as_matrix(full)
    v = torch.randn(len(gram), dtype=torch.float64)
    near(ng.NTKOperator(model, x, memory_budget=1) @ v, gram @ v)
    near(ng.NTKOperator(model, x) @ v, gram @ v)


class PINN(nn.Module):
    """Residual of a differential equation; ``how`` its forward makes the input one to differentiate by."""

    def __init__(self, how):
        super().__init__()
        self.net, self.how = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double(), how

    def forward(self, x):
        x = self.how(x)
        u = self.net(x)
        du = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        return torch.cat([u, du[:, 1:] - 0.1 * u**2], 1)


@pytest.mark.parametrize(
    "how", [lambda x: x.requires_grad_(), lambda x: x.clone().requires_grad_()], ids=["in place", "of a copy"]
)
def test_networks_that_differentiate_by_their_inputs(how):
    model, x = PINN(how), torch.rand(5, 2, dtype=torch.float64)
    check(model, x.clone())
    near(ng.linearize(model)(x.clone()).detach(), model(x.clone()).detach())


def test_networks_that_differentiate_by_inputs_the_caller_marked():
    x = torch.rand(5, 2, dtype=torch.float64).requires_grad_()
    check(PINN(lambda x: x), x)


def test_context_variables_of_the_caller_count():
    model = With(lambda m, x: SCALE.get() * m.a(x), a=nn.Linear(3, 2)).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    token = SCALE.set(10.0)
    try:
        near(ng.empirical_ntk(model, x), right_kernel(model, x))
    finally:
        SCALE.reset(token)


def test_modes_of_torch_see_the_work():
    with FlopCounterMode(display=False) as counter:
        ng.empirical_ntk(nn.Linear(30, 20), torch.randn(10, 30))
    assert counter.get_total_flops() > 2 * 10 * 30 * 20


class Harsh(torch.autograd.Function):
    """A backward pass without a derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return 3 * grad * ctx.saved_tensors[0] ** 2


class Silent(torch.autograd.Function):
    """A backward pass whose derivative is wrong: the graph does not know of the inputs."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach()
        return x**3

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad.detach() * ctx.x**2 + 0 * grad


@pytest.mark.parametrize("function", [Harsh, Silent])
def test_a_streamed_operator_is_right_after_a_product_with_zero(function):
    model = With(lambda m, x: m.b(function.apply(m.a(x))), a=nn.Linear(3, 4), b=nn.Linear(4, 2)).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    operator, gram = ng.NTKOperator(model, x, memory_budget=1), ng.as_matrix(right_kernel(model, x))
    assert not (operator @ torch.zeros(8, dtype=torch.float64)).any()
    v = torch.randn(8, dtype=torch.float64)
    near(operator @ v, gram @ v)


class Options(dict):
    __getattr__ = dict.__getitem__


class Slotted(nn.Module):
    __slots__ = ("k",)

    def __init__(self):
        super().__init__()
        self.k, self.a = 2.0, nn.Linear(3, 2)

    def forward(self, x):
        return self.k * self.a(x)


class Held(nn.Module):
    """A weight that a default argument holds, too."""

    def __init__(self):
        super().__init__()
        self.weight = weight = nn.Parameter(torch.randn(2, 3, dtype=torch.float64))
        self.function = lambda x, weight=weight: F.linear(x, weight)

    def forward(self, x):
        return torch.sin(self.function(x))


def test_attributes_of_any_kind_come_along():
    x = torch.randn(4, 3, dtype=torch.float64)
    options = With(lambda m, x: m.options.scale * m.a(x), a=nn.Linear(3, 2))
    options.options = Options(scale=2.0)
    for model in (options.double(), Slotted().double(), Held()):
        check(model, x)


def test_one_weight_in_two_shapes():
    weight = nn.Parameter(torch.randn(4, 6, dtype=torch.float64))
    check(With(lambda m, x: F.linear(F.linear(x, m.w), m.w.view(6, 4)), w=weight), torch.randn(5, 6).double())


class EdgesLast(nn.Module):
    """Sums over the neighbors of every node."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 2, dtype=torch.float64)

    def forward(self, x, edge_index):
        source, target = edge_index
        return torch.tanh(self.a(torch.zeros_like(x).index_add(1, target, x[:, source]))).flatten(1)


class EdgesFirst(EdgesLast):
    """The same, called the other way round."""

    def forward(self, edge_index, x):
        return super().forward(x, edge_index)


def test_edges_are_shared_however_many_examples_there_are():
    edges, model, first = torch.tensor([[0, 1, 2], [1, 2, 0]]), EdgesLast(), EdgesFirst()
    first.load_state_dict(model.state_dict())
    alone = With(lambda m, x: m.graph(x, edges), graph=model)
    for n in (2, 3, 5):
        x = torch.randn(n, 4, 3, dtype=torch.float64)
        right = right_kernel(alone, x)
        near(ng.empirical_ntk(model, {"x": x, "edge_index": edges}), right)
        near(ng.empirical_ntk(model, (x, edges)), right)
        near(ng.empirical_ntk(first, (edges, x)), right)


def count(m, x):
    m.seen.add_(len(x))
    return m.a(x)


def test_tensors_that_a_forward_writes_into_stay():
    table = nn.Embedding(6, 3, max_norm=0.5).requires_grad_(False)
    model = With(lambda m, i: m.a(m.table(i).mean(1)), table=table, a=nn.Linear(3, 2))
    counting = With(count, a=nn.Linear(3, 2))
    counting.seen, before = torch.zeros(()), table.weight.clone()
    for call in (ng.plan_ntk, ng.empirical_ntk, ng.NTKOperator):
        call(model, torch.randint(0, 6, (4, 3)))
        call(counting, torch.randn(4, 3))
    assert torch.equal(table.weight, before)
    assert float(counting.seen) == 0.0


def test_the_random_numbers_of_the_process_stay():
    model, x = With(lambda m, x: 0 * m.a(x), a=nn.Linear(3, 2)), torch.randn(4, 3)
    state = torch.get_rng_state()
    ng.empirical_ntk(model, x)  # a kernel of zeros is looked at more closely
    assert torch.equal(torch.get_rng_state(), state)


class Neighbors(nn.Module):
    """An adjacency matrix first, that all graphs share."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 2, dtype=torch.float64)

    def forward(self, adjacency, x):
        return self.a(adjacency @ x).flatten(1)


def test_the_differentiable_kernel_is_checked_like_the_other():
    model = Neighbors()
    x, adjacency = torch.randn(5, 4, 3, dtype=torch.float64), torch.rand(4, 4, dtype=torch.float64)
    found = ng.empirical_ntk(model, (adjacency, x), differentiable=True)
    near(found.detach(), ng.empirical_ntk(model, (adjacency, x)))
    net, x = nn.Linear(3, 2), torch.randn(4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert ng.empirical_ntk(net, x, differentiable=True).dtype == torch.float32
    x[1] = torch.nan
    with pytest.raises(ModelError, match="NaN"):
        ng.empirical_ntk(net, x, differentiable=True)
    with pytest.raises(ModelError, match="NaN"):
        ng.NTKOperator(net, x, memory_budget=1)


def test_vectors_of_any_kind():
    model, x = nn.Linear(3, 2).double(), torch.randn(4, 3, dtype=torch.float64)
    operator = ng.NTKOperator(model, x)
    v = torch.randn(8, dtype=torch.float64)
    for other in (v.clone().requires_grad_(), v.numpy(), v.tolist()):
        near(operator @ other, operator @ v)
    assert (operator @ v.new_empty(8, 0)).shape == (8, 0)
    for bad in (v.to(torch.complex128), v.to("meta"), "v"):
        with pytest.raises(KernelError, match="multiplied with"):
            operator @ bad


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float64"},
        {"memory_budget": "1GB"},
        {"memory_budget": float("nan")},
        {"memory_budget": True},
        {"parameters": 3},
        {"parameters": lambda name: True},
    ],
    ids=["dtype", "text", "nan", "flag", "number", "filter"],
)
def test_options_of_other_kinds_end_in_a_sentence(options):
    for call in (ng.empirical_ntk, ng.NTKOperator):
        with pytest.raises(NtkgapError):
            call(nn.Linear(3, 2), torch.randn(4, 3), **options)


def test_networks_that_autograd_cannot_follow():
    def spoilt(m, x):
        h = F.relu(m.a(x))
        h[:, 0] = h[:, 1] * 3
        return m.b(F.relu(h, inplace=True))

    model = With(spoilt, a=nn.Linear(3, 4), b=nn.Linear(4, 2))
    for call in (ng.empirical_ntk, ng.NTKOperator):
        with pytest.raises(ModelError, match="in place"):
            call(model, torch.randn(4, 3))
    casting = With(lambda m, x: m.a(x.float()), a=nn.Linear(3, 2))
    with pytest.raises(ModelError, match="casts to another type"):
        ng.empirical_ntk(casting, torch.randn(4, 3), dtype=torch.float64)


def test_a_compiled_reference():
    model, reference = nn.Linear(3, 2), nn.Linear(3, 2)
    x = torch.randn(4, 3)
    found = ng.kernels.KernelChange(model, torch.compile(reference, backend="eager"), x)
    assert found.shape == (8, 8)


def test_linearized_networks_that_cut_the_graph_on_some_inputs_only():
    def gated(m, x):
        h = m.a(x)
        with torch.no_grad():
            gate = 1 + torch.relu(x[:, :1] - 1.5) * h.abs().sum(1, keepdim=True)
        return h * gate

    model = With(gated, a=nn.Linear(6, 2)).double()
    quiet = torch.randn(3, 6, dtype=torch.float64).clamp(-1, 1)
    loud = quiet.clone()
    loud[:, 0] = 2.0
    linearized = ng.linearize(model)
    linearized(quiet)
    right = model(loud).detach() + row_jacobian(model, loud).sum(-1)
    with torch.no_grad():
        for p in linearized.network.parameters():
            p.add_(1.0)
    near(linearized(loud).detach(), right)
