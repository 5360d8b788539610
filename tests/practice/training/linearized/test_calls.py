"""What a linearized model may be called with, and where it may be called from."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, jvp, vmap
from torch.nn import functional as F

import ntkgap as ng
from ntkgap.errors import DataError, ModelError
from tests.kernels.empirical.modules import With
from tests.practice.training.linearized.networks import HARD
from tests.practice.training.linearized.test_routes import assert_near, perturbed
from tests.reference.empirical import row_jacobian
from tests.tolerances import EXACT, SINGLE


class Matching(nn.Module):
    """Several inputs, one of them with a default."""

    def __init__(self):
        super().__init__()
        self.table, self.a, self.b = nn.Embedding(9, 4), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, input_ids, features=None, attention_mask=None):
        h = self.table(input_ids)
        if attention_mask is not None:
            h = h * attention_mask[..., None]
        h = torch.tanh(self.a(h.sum(1)))
        return h if features is None else h * self.b(features)


def logits(kind):
    def forward(m, x):
        found = {"loss": None, "logits": m.a(x).tanh()}
        return found if kind is dict else type("Output", (), found)()

    return With(forward, a=nn.Linear(4, 3)).double()


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


@pytest.fixture
def x(generator):
    return torch.randn(5, 4, dtype=torch.float64, generator=generator)


def test_several_inputs_in_every_way(x, generator):
    model = Matching().double()
    ids = torch.randint(9, (5, 3), generator=generator)
    mask = torch.randint(2, (5, 3), generator=generator).double()
    linearized = ng.linearize(model)
    step = perturbed(linearized)
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    start = {name: p.detach() for name, p in model.named_parameters()}

    def outputs(theta):
        sizes = [p.numel() for p in start.values()]
        pairs = zip(start.items(), theta.split(sizes), strict=True)
        return functional_call(model, {k: part.view_as(p) for (k, p), part in pairs}, (ids, x, mask))

    expected = outputs(flat) + jacrev(outputs)(flat) @ step
    for found in (
        linearized(ids, x, mask),
        linearized(ids, x, attention_mask=mask),
        linearized(input_ids=ids, features=x, attention_mask=mask),
        linearized({"attention_mask": mask, "input_ids": ids, "features": x}),
        linearized((ids, x, mask)),
        linearized([ids, x, mask]),
    ):
        assert_near(found, expected, EXACT)
    assert_near(linearized(ids)[:2], linearized(ids[:2]), EXACT)
    assert linearized(ids).shape == (5, 3)


@pytest.mark.parametrize("kind", [dict, object])
def test_logits_are_the_outputs(kind, x):
    model = logits(kind)
    linearized = ng.linearize(model)
    plain = nn.Sequential(model.a, nn.Tanh())
    step = perturbed(linearized)
    expected = plain(x).detach() + (row_jacobian(plain, x) @ step).view(5, 3)
    assert_near(linearized(x), expected, EXACT)


def test_outputs_keep_their_shape(x):
    model = nn.Sequential(mlp(), nn.Unflatten(1, (3, 1)))
    assert ng.linearize(model)(x).shape == (5, 3, 1)
    assert ng.linearize(nn.Sequential(mlp(), nn.Flatten(0)))(x).shape == (15,)


@pytest.mark.parametrize("name", ["encoder layer", "norm without gradient", "segments"])
def test_a_linearized_model_has_the_kernel_of_the_model(name):
    case = HARD[name]
    model, x = case.model(), case.inputs()
    linearized = ng.linearize(model)
    perturbed(linearized)
    expected = ng.empirical_ntk(model, x)
    assert_near(ng.empirical_ntk(linearized, x), expected, EXACT)
    v = torch.randn(x.shape[0] * expected.shape[2], dtype=torch.float64)
    operator = ng.NTKOperator(linearized, x, memory_budget=1000)
    assert_near(operator @ v, ng.as_matrix(expected) @ v, EXACT)


def test_transforms_of_torch_func(x):
    """Also on the first call, when the values are those of tensors within."""
    model = mlp()
    jacobian = row_jacobian(model, x)
    own = dict(ng.linearize(model).named_parameters())

    def of(parameters, xi):
        return functional_call(ng.linearize(model), parameters, (xi[None],))[0]

    blocks = vmap(jacrev(of), (None, 0))({name: p.detach() for name, p in own.items()}, x)
    assert_near(torch.cat([block.flatten(2) for block in blocks.values()], 2), jacobian, EXACT)
    w = {name: torch.randn_like(p) for name, p in own.items()}
    flat = torch.cat([part.flatten() for part in w.values()])
    linearized = ng.linearize(model)
    start = {name: p.detach() for name, p in own.items()}
    change = jvp(lambda parameters: functional_call(linearized, parameters, (x,)), (start,), (w,))[1]
    assert_near(change, (jacobian @ flat).view(5, 3), EXACT)
    assert_near(vmap(ng.linearize(model))(x), model(x).detach(), EXACT)


def test_transforms_need_forward_mode():
    case = HARD["norm without gradient"]
    model, x = case.model(), case.inputs()
    with pytest.raises(ModelError, match=r"cannot be used inside of torch\.func"):
        vmap(ng.linearize(model))(x[:, None])


def test_gradients_with_respect_to_the_inputs(x):
    model = mlp()
    linearized = ng.linearize(model)
    step = perturbed(linearized)
    start = nn.utils.parameters_to_vector(model.parameters()).detach()

    def expansion(xi):
        def f(theta):
            own = dict(model.named_parameters())
            parts = theta.split([p.numel() for p in own.values()])
            values = {k: part.view_as(p) for (k, p), part in zip(own.items(), parts, strict=True)}
            return functional_call(model, values, (xi[None],))[0]

        return f(start) + jacrev(f)(start) @ step

    inputs = x.clone().requires_grad_()
    v = torch.randn(5, 3, dtype=torch.float64)
    (found,) = torch.autograd.grad(linearized(inputs), inputs, v)
    expected = torch.einsum("icd,ic->id", vmap(jacrev(expansion))(x), v)
    assert_near(found, expected, EXACT)


@pytest.mark.parametrize("name", ["norm without gradient", "segments"])
def test_no_gradient_with_respect_to_the_inputs_without_forward_mode(name):
    case = HARD[name]
    linearized = ng.linearize(case.model())
    with pytest.raises(ModelError, match=r"no gradient with respect to its inputs.*pass x.detach\(\)"):
        linearized(case.inputs().requires_grad_())
    with torch.no_grad():
        linearized(case.inputs().requires_grad_())


def test_written_out_layers_have_gradients_with_respect_to_the_inputs():
    case = HARD["encoder layer"]
    model, x = case.model(), case.inputs().requires_grad_()
    linearized = ng.linearize(model)
    (found,) = torch.autograd.grad(linearized(x).sum(), x)
    (expected,) = torch.autograd.grad(model(x).sum(), x)
    assert_near(found, expected, EXACT)


def test_autocast_and_inference_mode_do_not_change_the_numbers(x):
    model = mlp().float()
    linearized, x = ng.linearize(model), x.float()
    perturbed(linearized)
    expected = linearized(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = linearized(x)
        assert found.dtype == torch.float32
        assert_near(found.double(), expected.double(), SINGLE)
    with torch.inference_mode():
        assert torch.equal(linearized(x), expected)
        made = x.clone()
        inside = ng.linearize(model)
    assert torch.equal(linearized(made), expected)
    linearized(made).sum().backward()
    assert all(p.grad is not None for p in linearized.parameters())
    assert torch.equal(inside(x), ng.linearize(model)(x))
    inside(x).sum().backward()


def test_a_model_made_in_inference_mode(x):
    with torch.inference_mode():
        model = mlp()
    linearized = ng.linearize(model)
    step = perturbed(linearized)
    expected = mlp()(x).detach() + (row_jacobian(mlp(), x) @ step).view(5, 3)
    assert_near(linearized(x), expected, EXACT)


def test_the_fast_path_of_transformers_is_for_inference_only():
    """Without gradients torch takes another way through an encoder, which knows no forward mode."""
    case = HARD["encoder layer"]
    model, x = case.model(), case.inputs()
    linearized = ng.linearize(model)
    step = perturbed(linearized)
    expected = model(x).detach() + (row_jacobian(model, x) @ step).view(4, 2)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            assert_near(linearized(x), expected, EXACT)


def test_copies_and_pickles(x):
    linearized = ng.linearize(mlp())
    perturbed(linearized)
    expected = linearized(x)
    for other in (copy.deepcopy(linearized), pickle.loads(pickle.dumps(linearized))):
        assert torch.equal(other(x), expected)
        other(x).sum().backward()
        torch.optim.SGD(other.parameters(), 1.0).step()
        assert not torch.equal(other(x), expected)
        assert torch.equal(linearized(x), expected)


def test_other_devices_and_types_after_the_first_call(x):
    linearized = ng.linearize(mlp())
    step = perturbed(linearized)
    expected = linearized(x)
    model = mlp()
    assert_near(expected, model(x).detach() + (row_jacobian(model, x) @ step).view(5, 3), EXACT)
    assert_near(linearized.float()(x.float()).double(), expected, SINGLE)
    assert_near(linearized.double()(x), expected, SINGLE)


def test_the_state_holds_the_point_of_expansion(x):
    other = mlp()
    nn.init.ones_(other[0].weight)
    one, two = ng.linearize(mlp()), ng.linearize(other)
    perturbed(one)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(x), two(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x: x.float(),
            r"inputs are torch.float32, the parameters of Sequential torch.float64.*x.to",
        ),
        (lambda x: x.to("meta"), r"inputs are on meta, Sequential on cpu.*move one of them"),
        (lambda x: x.numpy(), r"hold no torch.Tensor"),
    ],
)
def test_inputs_that_do_not_fit_the_network(change, message, x):
    with pytest.raises(DataError, match=message):
        ng.linearize(mlp())(change(x))


def test_the_model_and_its_inputs_are_left_alone(x):
    """Networks that write into buffers and inputs: each call starts from those of the beginning."""

    def forward(m, x):
        m.calls += 1
        x.mul_(0.5)
        return m.a(F.relu(x, inplace=True)) * m.calls

    model = With(forward, a=nn.Linear(4, 2)).double()
    model.register_buffer("calls", torch.zeros(()))
    expected = model.a(torch.relu(0.5 * x)).detach()
    linearized, before = ng.linearize(model), x.clone()
    for _ in range(3):
        assert_near(linearized(x), expected, EXACT)
    assert torch.equal(x, before)
    assert float(model.calls) == 0 == float(linearized.network.calls)
    linearized(x).sum().backward()
    assert all(p.grad is None for p in model.parameters())


def test_later_changes_of_the_model_do_not_arrive(x):
    model = nn.Sequential(mlp(), nn.Dropout(0.5), nn.BatchNorm1d(3)).double().eval()
    model.scale = torch.ones(3)
    linearized = ng.linearize(model)
    expected = linearized(x)
    model.train()
    model(x)
    model[0][0].weight.data.zero_()
    assert torch.equal(linearized(x), expected)
    linearized.train()
    assert torch.equal(linearized(x), expected)
    assert linearized.training
    linearized.network.train()
    assert torch.equal(linearized(x), expected)
    assert not linearized.eval().training


def test_frozen_and_tied_parameters(x):
    tied = With(lambda m, h: m.w(torch.tanh(m.v(h))), v=nn.Linear(8, 8), w=nn.Linear(8, 8, bias=False))
    tied.w.weight = tied.v.weight
    model = nn.Sequential(nn.Linear(4, 8), tied).double()
    model[0].bias.requires_grad_(False)
    trained = ["0.weight", "1.v.weight", "1.v.bias"]
    linearized = ng.linearize(model)
    assert [name for name, _ in linearized.network.named_parameters()] == ["0.weight", "0.bias", *trained[1:]]
    assert [name for name, p in linearized.network.named_parameters() if p.requires_grad] == trained
    assert linearized.network[1].w.weight is linearized.network[1].v.weight
    step = perturbed(linearized)
    assert_near(linearized(x), model(x).detach() + (row_jacobian(model, x, trained) @ step).view(5, 8), EXACT)
    linearized.requires_grad_(True)
    linearized(x).sum().backward()
    assert linearized.network[0].bias.grad is None


def test_what_is_held_outside_of_parameters_and_buffers_is_copied_too(x):
    model = With(lambda m, x: m.teacher[0](torch.tanh(m.a(x))) * m.scales["first"], a=nn.Linear(4, 4)).double()
    model.teacher, model.scales = [nn.Linear(4, 2).double()], {"first": torch.ones(2)}
    linearized = ng.linearize(model)
    step = perturbed(linearized)
    expected = model(x).detach() + (row_jacobian(model, x) @ step).view(5, 2)
    assert_near(linearized(x), expected, EXACT)
    model.teacher[0].weight.data.zero_()
    model.scales["first"].zero_()
    assert_near(linearized(x), expected, EXACT)


@pytest.mark.parametrize("layout", ["to_sparse_coo", "to_sparse_csr"])
def test_sparse_buffers(layout, x):
    graph = getattr(torch.eye(4, dtype=torch.float64).roll(1, 0), layout)()
    model = With(lambda m, x: (m.graph @ torch.tanh(m.a(x)).T).T, a=nn.Linear(4, 4)).double()
    model.register_buffer("graph", graph)
    linearized = ng.linearize(model)
    step = perturbed(linearized)
    expected = model(x).detach() + (row_jacobian(model, x) @ step).view(5, 4)
    assert_near(linearized(x), expected, EXACT)
