"""What nobody should give a monitor ends in one sentence, or in a row that says that the training diverged."""

import copy
import math

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import DataError, ModelError, StudyError
from tests.practice.monitor.networks import case


def net():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"x": X[:, :3]}, DataError, r"probe x.*does not take"),
        ({"x_test": X[:, :3]}, DataError, r"probe x_test.*does not take"),
        ({"x": X.long()}, DataError, "int64|Long"),
        ({"x": X[:0]}, DataError, "the probe x has shape .0, 4.; at least one example"),
        ({"y": Y[:3]}, DataError, "y has shape .3,., but the probe holds 5"),
        ({"y": Y + 1}, DataError, "class numbers 1 … 3, the model has 3"),
        ({"y": torch.zeros(5, 2)}, DataError, "does not fit outputs of shape .5, 3"),
        ({"y_test": Y}, StudyError, "without x_test"),
        ({"y": Y, "loss": "hinge"}, StudyError, "unknown loss 'hinge'"),
        ({"y": Y, "loss": 3}, StudyError, "loss= takes a name or a function"),
        ({"y": Y, "loss": nn.CrossEntropyLoss(reduction="none")}, StudyError, "one number"),
        ({"y": torch.randn(5, 3), "loss": nn.NLLLoss()}, StudyError, "failed on outputs"),
        ({"budget": -1}, StudyError, "budget must be a fraction"),
        ({"budget": True}, StudyError, "budget must be a fraction"),
        ({"outputs": 1}, StudyError, "outputs must be an integer of at least 2"),
        ({"batch_size": 0}, StudyError, "batch_size must be"),
        ({"model": 3}, ModelError, "nn.Module"),
        ({"model": net().requires_grad_(False)}, ModelError, "frozen"),
        ({"model": nn.Sequential(nn.LazyLinear(3))}, ModelError, "no shape yet"),
        (
            {"model": nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False))},
            ModelError,
            "batch",
        ),
        ({"optimizer": torch.optim.SGD(net().parameters(), lr=0.1)}, StudyError, "no parameters of Sequential"),
        ({"optimizer": "sgd"}, StudyError, "takes a torch.optim.Optimizer"),
    ],
    ids=str,
)
def test_construction(arguments, error, says):
    with pytest.raises(error, match=says):
        ng.Monitor(**({"model": net(), "x": X} | arguments))


def test_an_optimizer_that_leaves_parameters_out():
    model = net()
    with pytest.raises(StudyError, match=r"does not step 0.weight, 0.bias"):
        ng.Monitor(model, X, optimizer=torch.optim.SGD(model[2].parameters(), lr=0.1))
    model[0].requires_grad_(False)
    ng.Monitor(model, X, optimizer=torch.optim.SGD(model[2].parameters(), lr=0.1))


def replaced(model):
    model[0].weight = nn.Parameter(model[0].weight.detach().clone())


def added(model):
    model.append(nn.Linear(3, 3))


def removed(model):
    model[0].register_parameter("bias", None)


def unfrozen(model):
    model[2].requires_grad_(True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replaced, "'0.weight' of Sequential is another tensor"),
        (added, r"parameters that the start had not: 3.bias, 3.weight"),
        (removed, r"lost parameters since the start: 0.bias"),
        (unfrozen, "was frozen at the start and is trained now"),
        (lambda model: model.double(), r"was \(6, 4\), torch.float32, cpu at the start and is .*float64"),
    ],
)
def test_another_network_by_now(change, says):
    model = net()
    model[2].requires_grad_(False)
    monitor = ng.Monitor(model, X, budget=None)
    change(model)
    with pytest.raises(ModelError, match=says):
        monitor.observe(1)


def test_freezing_on_the_way_is_fine():
    model = net()
    monitor = ng.Monitor(model, X, budget=None)
    model[0].requires_grad_(False)
    with torch.no_grad():
        model[2].weight += 0.1
    assert monitor.observe(1)["kernel_change"] > 0


def test_an_optimizer_that_is_given_other_parameters_later():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = ng.Monitor(model, X, optimizer=optimizer, budget=None)
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    with pytest.raises(StudyError, match="steps 1 tensors that are no parameters"):
        monitor.observe(1)


def test_steps_go_forward():
    monitor = ng.Monitor(net(), X, budget=None)
    monitor.observe(3)
    for step in (2, 3):
        with pytest.raises(StudyError, match=f"step={step} was observed after step 3"):
            monitor.observe(step)
    for step in (-1, 1.5, True, "4"):
        with pytest.raises(StudyError, match="step must be an integer"):
            monitor.observe(step)
    with pytest.raises(StudyError, match="one number"):
        monitor.observe(4, loss=torch.zeros(2))
    assert len(monitor.to_pandas()) == 1


@pytest.mark.parametrize("loss", [math.nan, math.inf, torch.tensor(math.nan)])
def test_losses_that_are_not_finite(loss):
    monitor = ng.Monitor(net(), X, budget=None)
    found = monitor.observe(7, loss)
    assert monitor.diverged == 7
    assert not math.isfinite(found.pop("loss"))
    assert all(map(math.isnan, found.values()))
    assert "step 7: the loss is not finite" in monitor.notes[0]


def test_parameters_that_are_not_finite():
    model = net()
    monitor = ng.Monitor(model, X, budget=None)
    with torch.no_grad():
        model[0].bias[0] = math.inf
    assert all(map(math.isnan, monitor.observe(4).values()))
    assert monitor.diverged == 4
    monitor.observe(5)
    assert monitor.diverged == 4


@pytest.mark.parametrize(("size", "says"), [(1e30, "outputs on the probe are not finite"), (1e11, "overflows")])
def test_outputs_and_kernels_that_overflow(size, says):
    model = ng.MLP(4, 3, width=400, depth=2)  # in float32
    monitor = ng.Monitor(model, X, Y, budget=None)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(size)
    found = monitor.observe(1)
    assert math.isnan(found["kernel_change"])
    assert any(says in note for note in monitor.notes)
    assert (monitor.diverged == 1) == (size == 1e30)


class Root(nn.Module):
    """Defined for positive parameters alone, of which some are small."""

    def __init__(self):
        super().__init__()
        self.squares = nn.Parameter(torch.tensor([1e-3, 10.0, 10.0, 10.0]))

    def forward(self, x):
        return torch.tanh(x * self.squares.sqrt()).sum(1)


def test_a_network_that_is_not_defined_beside_its_start():
    model = Root()
    torch.manual_seed(0)
    monitor = ng.Monitor(model, X, budget=None)
    with torch.no_grad():
        model.squares += 1.0
    assert monitor.observe(1)["kernel_change"] > 0


def test_watching_needs_the_optimizer():
    with pytest.raises(StudyError, match="watching needs the optimizer"), ng.Monitor(net(), X).watching(3):
        pass


def test_checkpoints():
    made = case("dropout")
    before = copy.deepcopy(made.model)
    made.move()
    compare = ng.compare_checkpoints
    dicts = compare(before.state_dict(), made.model.state_dict(), made.x, model=before)
    assert dicts == pytest.approx(compare(before, made.model, made.x), nan_ok=True)
    assert dicts.layers.set_index("layer")["kernel_change"].sum() == pytest.approx(1)
    other = copy.deepcopy(made.model)
    other[1] = nn.Tanh()
    larger = nn.Sequential(nn.Linear(4, 7), nn.GELU(), nn.Dropout(), nn.Linear(7, 3))
    broken = copy.deepcopy(made.model)
    broken[0].weight.data[0, 0] = math.nan
    for arguments, error, says in (
        ((before, other, made.x), ModelError, r"'1' is GELU.* before and Tanh.* after"),
        ((before, larger, made.x), ModelError, r"'0.weight' is \(6, 4\) before and \(7, 4\) after"),
        ((before, copy.deepcopy(before).double(), made.x), ModelError, "different precision"),
        ((before, broken, made.x), ModelError, "after holds NaN"),
        ((before.state_dict(), made.model, made.x), StudyError, "before is a state dict.*model="),
        ((before, 3, made.x), ModelError, "after must be a network or a state dict"),
        ((before, made.model, made.x[:, :2]), DataError, "probe x"),
    ):
        with pytest.raises(error, match=says):
            compare(*arguments)
    with pytest.raises(ModelError, match="state dict after is not of Sequential"):
        compare(before, larger.state_dict(), made.x, model=before)
