"""Every case of the zoo: kernels of every form, operators and linearized models, in every precision.

To be quick, a case goes through one check of each kind below, in one precision; which, changes from case to case.
``NTKGAP_ZOO=all pytest tests/kernels/empirical/zoo`` makes every check of every case in every precision.
"""

import itertools
import os

import pytest
import torch

import ntkgap as ng
from tests.kernels.empirical.zoo.case import double
from tests.kernels.empirical.zoo.cases import CASES
from tests.kernels.empirical.zoo.expected import N1, N2, expected
from tests.kernels.empirical.zoo.untouched import untouched
from tests.reference.trees import call, logits, one

PRECISIONS = ("float32 in float64", "float64", "float32")
STREAM = 1  # a budget of one byte: nothing can be kept
numbered = pytest.mark.parametrize(
    ("number", "case"), list(enumerate(CASES)), ids=lambda value: "" if isinstance(value, int) else value.name
)
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


class Setting:
    """A case in one precision: the network, two sets of inputs, how to call and how exact to be."""

    def __init__(self, case, precision):
        self.model, self.x1, self.x2 = case.model(), case.examples(N1, 1), case.examples(N2, 2)
        self.expected = expected(case)
        self.options = {}
        self.tolerance = case.single if precision == "float32" else case.double
        if precision == "float64":
            self.model, self.x1, self.x2 = self.model.double(), double(self.x1), double(self.x2)
        elif precision == "float32 in float64":
            self.options = {"dtype": torch.float64}
        self.dtype = torch.float32 if precision == "float32" else torch.float64

    def check(self, got, exact):
        assert got.dtype == self.dtype
        assert got.shape == exact.shape
        scale = float(exact.abs().max())
        error = float((got.detach().double() - exact).abs().max()) / (scale or 1.0)
        assert error <= self.tolerance, f"off by {error:.1e}"


def form(outputs):
    def check(s):
        s.check(ng.empirical_ntk(s.model, s.x1, outputs=outputs, **s.options), s.expected.form(outputs))

    return check


def two_sets(s):
    s.check(ng.empirical_ntk(s.model, s.x1, s.x2, **s.options), s.expected.form("full", symmetric=False))


def half_of_the_parameters(s):
    names = list(s.expected.columns)[::2]
    columns = torch.cat([torch.arange(s.expected.j1.shape[2])[s.expected.columns[name]] for name in names])
    got = ng.empirical_ntk(s.model, s.x1, outputs="mean", parameters=names, **s.options)
    s.check(got, s.expected.form("mean", columns=columns))


def operator(memory_budget):
    def check(s):
        j = s.expected.j1.flatten(0, 1)
        v = torch.randn(len(j), 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        k = ng.NTKOperator(s.model, s.x1, memory_budget=memory_budget, **s.options)
        s.check(k @ v.to(s.dtype), j @ (j.T @ v))

    return check


def linearized(s):
    """Its value and its gradient where the parameters have moved."""
    g = torch.Generator().manual_seed(4)
    linear = ng.linearize(s.model)
    trained = [p for p in linear.parameters() if p.requires_grad]
    start = [p.detach().double().clone() for p in trained]
    with torch.no_grad():
        for p in trained:
            p += 0.1 * torch.randn(p.shape, generator=g, dtype=p.dtype)
    step = torch.cat([(p.detach().double() - p0).flatten() for p, p0 in zip(trained, start, strict=True)])
    value = logits(call(linear, s.x1)).reshape(s.expected.outputs.shape)
    s.check(value, s.expected.outputs + s.expected.j1 @ step)
    u = torch.randn(value.shape, generator=g, dtype=torch.float64)
    grads = torch.autograd.grad(value, trained, u.to(value), allow_unused=True)
    dense = [torch.zeros_like(p) if d is None else d.to_dense() for p, d in zip(trained, grads, strict=True)]
    s.check(torch.cat([d.flatten() for d in dense]), torch.einsum("ncp,nc->p", s.expected.j1, u))


KERNELS = (
    {"full": form("full")},
    {"mean": form("mean"), "diagonal": form("diagonal"), "sum": form("sum")},
    {"two sets of inputs": two_sets, "half of the parameters": half_of_the_parameters},
)
OPERATORS = ({"kept": operator(None), "streamed": operator(STREAM)},)
LINEARIZED = ({"twin": linearized},)


def run(case, number, kinds, precisions=PRECISIONS):
    """Make one check of each kind in one precision, or all in all, and tell of all that fail."""
    everything = os.environ.get("NTKGAP_ZOO") == "all"
    failures = []
    for k, checks in enumerate(kinds):
        names = list(checks) if everything else [list(checks)[number // len(precisions) % len(checks)]]
        for name, precision in itertools.product(
            names, precisions if everything else [precisions[(number + k) % len(precisions)]]
        ):
            setting = Setting(case, precision)
            try:
                with untouched(setting.model, setting.x1, setting.x2):
                    checks[name](setting)
            except Exception as error:
                failures.append(f"{name}, {precision}: {type(error).__name__}: {error}")
    assert not failures, "\n".join(failures)


@numbered
def test_a_case_is_small_and_proper(case, number):
    """It is what it says: with something to differentiate, and no example notices another."""
    model = case.model().double()
    assert sum(p.numel() for p in model.parameters()) < 3000
    for n, seed in ((N1, 1), (N2, 2)):
        inputs = double(case.examples(n, seed))
        with torch.no_grad():
            alone = torch.cat([logits(call(model, one(inputs, i, n))) for i in range(n)])
            together = logits(call(model, double(inputs)))
        assert together.shape[0] == n
        scale = float(alone.abs().max()) or 1.0
        assert float((together - alone).abs().max()) <= case.double * scale
    e = expected(case)
    assert torch.isfinite(e.j1).all()
    assert e.j1.shape[2] == sum(p.numel() for p in model.parameters() if p.requires_grad)
    moved = {name for name, columns in e.columns.items() if e.j1[..., columns].any() or e.j2[..., columns].any()}
    assert moved == set(e.columns) - set(case.idle)


@numbered
def test_kernels(case, number):
    run(case, number, KERNELS)


@numbered
def test_operators(case, number):
    run(case, number, OPERATORS)


@numbered
def test_linearized_models(case, number):
    run(case, number, LINEARIZED, precisions=("float64", "float32"))
