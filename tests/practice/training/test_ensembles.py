import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from ntkgap.practice import train, train_ensemble
from ntkgap.practice.training.losses import squared_loss
from tests.reference.linear_model import linear_problem
from tests.tolerances import EXACT, ITERATED, SINGLE


def draw(generator, *shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=generator)


@pytest.fixture
def setting(generator):
    """Five examples with two outputs, and three points to ask at."""
    return ng.Dataset(draw(generator, 5, 3), draw(generator, 5, 2)), draw(generator, 3, 3)


def mlp(i, dtype=torch.float64):
    return ng.MLP(3, 2, 6, 2, "tanh", bias_std=0.2, generator=torch.Generator().manual_seed(i)).to(dtype)


def lazy(i):
    """Mean-field layers and a scaled output: learning rates that are not η."""
    generator = torch.Generator().manual_seed(i)
    return ng.MLP(3, 2, 6, 2, "tanh", "mean_field", alpha=3.0, generator=generator).double()


class Tied(nn.Module):
    """One weight matrix used twice, one frozen parameter and a buffer."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.square = nn.Parameter(draw(generator, 3, 3))
        self.frozen = nn.Parameter(draw(generator, 3), requires_grad=False)
        self.out = nn.Parameter(draw(generator, 3, 2))
        self.register_buffer("shift", draw(generator, 3))

    def forward(self, x):
        return torch.erf(torch.tanh(x @ self.square + self.shift) @ self.square + self.frozen) @ self.out


@pytest.mark.parametrize(
    ("build", "together"),
    [(mlp, None), (mlp, 2), (Tied, None), (lazy, None)],
    ids=["mlp", "mlp two at once", "tied", "learning rates of its own"],
)
def test_members_are_those_trained_alone(setting, build, together):
    data, inputs = setting
    found = train_ensemble(
        build,
        data,
        5,
        learning_rate=0.02,
        steps=12,
        inputs=inputs,
        observe_at=[0, 3, 12],
        together=together,
    )
    assert found.steps == (0, 3, 12)
    assert found.outputs.shape == (5, 3, 3, 2)
    for i in range(5):
        model, outputs = build(i), []

        def observe(step, model=model, outputs=outputs):
            if step in found.steps:
                outputs.append(model(inputs).detach())

        curve = train(model, data, learning_rate=0.02, steps=12, observe=observe)
        torch.testing.assert_close(found.outputs[i], torch.stack(outputs), rtol=ITERATED, atol=EXACT)
        expected = torch.tensor([curve.losses[s] for s in found.steps], dtype=torch.float64)
        torch.testing.assert_close(found.losses[i], expected, rtol=ITERATED, atol=0)


def test_single_precision_and_the_last_step_by_default(setting):
    data, inputs = setting
    exact = train_ensemble(mlp, data, 2, learning_rate=0.02, steps=8, inputs=inputs)
    single = train_ensemble(
        lambda i: mlp(i, torch.float32),
        data.to(torch.float32),
        2,
        learning_rate=0.02,
        steps=8,
        inputs=inputs.float(),
    )
    assert single.steps == (8,)
    assert single.outputs.dtype == torch.float32
    torch.testing.assert_close(single.outputs.double(), exact.outputs, rtol=SINGLE, atol=SINGLE)


def test_each_member_has_its_own_targets(setting, generator):
    data, inputs = setting
    targets = draw(generator, 3, 5, 2)
    found = train_ensemble(mlp, data, 3, learning_rate=0.02, steps=5, inputs=inputs, targets=targets, together=2)
    for i in range(3):
        model = mlp(i)
        curve = train(model, ng.Dataset(data.x, targets[i]), learning_rate=0.02, steps=5)
        torch.testing.assert_close(found.outputs[i, 0], model(inputs).detach(), rtol=ITERATED, atol=EXACT)
        assert found.losses[i, 0].item() == pytest.approx(curve.losses[-1], rel=ITERATED)


def test_anchored_members_end_at_the_ridge_fit_around_their_start(generator):
    p = linear_problem(generator, outputs=1)
    start = draw(generator, 3, 12)

    def build(i):
        model = nn.Linear(12, 1, bias=False).double()
        model.weight.data[0] = start[i]
        return model

    gram = p.train.T @ p.train
    rate = 1 / (torch.linalg.eigvalsh(gram)[-1].item() + 0.5)
    found = train_ensemble(
        build, ng.Dataset(p.train, p.y), 3, learning_rate=rate, steps=3000, inputs=p.test, anchoring=0.5
    )
    shifted = gram + 0.5 * torch.eye(12, dtype=torch.float64)
    for i in range(3):
        fitted = torch.linalg.solve(shifted, p.train.T @ p.y + 0.5 * start[i][:, None])
        torch.testing.assert_close(found.outputs[i, 0], p.test @ fitted, rtol=ITERATED, atol=ITERATED)
        loss = squared_loss(p.train @ fitted, p.y).item()
        assert found.losses[i, 0].item() == pytest.approx(loss, rel=ITERATED)


def test_bad_input_is_named(setting):
    data, inputs = setting

    def run(build=mlp, members=2, learning_rate=0.02, steps=3, **keywords):
        train_ensemble(build, data, members, learning_rate=learning_rate, steps=steps, inputs=inputs, **keywords)

    with pytest.raises(StudyError, match=r"members must be an integer of at least 1, got 0"):
        run(members=0)
    with pytest.raises(StudyError, match=r"learning_rate must be positive"):
        run(learning_rate=0)
    with pytest.raises(StudyError, match=r"anchoring must be finite and at least 0"):
        run(anchoring=-1.0)
    with pytest.raises(StudyError, match=r"together must be at least 1"):
        run(together=0)
    for asked in ([], [2, 1], [0, 4], [-1], [1, 1]):
        with pytest.raises(StudyError, match=r"observe_at must be ascending steps between 0 and 3"):
            run(observe_at=asked)
    with pytest.raises(StudyError, match=r"targets must have shape \(2, 5, 2\)"):
        run(targets=data.y)
    with pytest.raises(StudyError, match=r"member 0 has diverged by step 200; lower learning_rate = 50"):
        run(learning_rate=50.0, steps=200, build=lambda i: nn.Linear(3, 2).double())
    with pytest.raises(ModelError, match=r"must share one architecture"):
        run(build=lambda i: nn.Linear(3, 2).double() if i else mlp(i))
    with pytest.raises(ModelError, match=r"no parameters to train"):
        run(build=lambda i: nn.Linear(3, 2).double().requires_grad_(False))
    with pytest.raises(ModelError, match=r"Linear cannot be called on inputs of shape"):
        run(build=lambda i: nn.Linear(4, 2).double())
