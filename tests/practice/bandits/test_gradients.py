"""Factored gradients of single outputs multiply as the rows of the explicit Jacobian do."""

import pytest
import torch
from torch import nn

from ntkgap.kernels import RepeatedJacobian, jacobian
from ntkgap.models import MLP
from ntkgap.practice.bandits.gradients import FactoredGradients, GradientHistory, gradients_at
from tests.tolerances import EXACT


def _explicit(model, x):
    """Rows of the Jacobian of the flattened outputs, [n·C, P], one autograd call each."""
    model = model.double()
    outputs = model(x.double()).flatten()
    rows = [torch.autograd.grad(o, list(model.parameters()), retain_graph=True) for o in outputs]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def _network(kind, outputs):
    if kind == "mlp":
        return MLP(in_features=4, out_features=outputs, width=16, depth=2, bias_std=0.5)
    if kind == "plain":
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, outputs))
    return nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(9, outputs)
    )


@pytest.mark.parametrize("kind", ["mlp", "plain", "convolution"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_history_holds_the_rows_of_the_jacobian_at_several_parameters(generator, kind, outputs):
    torch.manual_seed(0)
    model = _network(kind, outputs).double()
    evaluate, history, rows = RepeatedJacobian(model), GradientHistory(), []
    for t in range(70):  # more than the first allocation
        x = torch.randn(3 if outputs == 1 else 1, 4, dtype=torch.float64, generator=generator)
        found, truth = FactoredGradients.of(evaluate(x)), _explicit(model, x)
        torch.testing.assert_close(found.squared_norms(), truth.square().sum(1), rtol=EXACT, atol=EXACT)
        if t:
            expected = torch.stack(rows) @ truth.mT
            torch.testing.assert_close(history.products(found), expected, rtol=EXACT, atol=EXACT)
        history.append(found, t % 3)
        rows.append(truth[t % 3])
        if t % 20 == 19:
            with torch.no_grad():
                for p in model.parameters():
                    p += 0.1 * torch.randn(p.shape, dtype=torch.float64, generator=generator)
            evaluate.refresh()
    weights = {name: torch.randn(p.shape, dtype=torch.float64) for name, p in model.named_parameters()}
    flat = torch.cat([w.flatten() for w in weights.values()])
    torch.testing.assert_close(history.gradients.along(weights), torch.stack(rows) @ flat, rtol=EXACT, atol=EXACT)


def test_gradients_of_chosen_outputs_in_blocks(generator, monkeypatch):
    monkeypatch.setattr("ntkgap.practice.bandits.gradients.BLOCK", 4)
    torch.manual_seed(0)
    model = _network("mlp", 3).double()
    x, o = torch.randn(10, 4, dtype=torch.float64, generator=generator), torch.arange(10) % 3
    values, gradients = gradients_at(RepeatedJacobian(model), x, o)
    rows = _explicit(model, x)[torch.arange(10) * 3 + o]
    torch.testing.assert_close(gradients.products(gradients), rows @ rows.mT, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(values, model(x).detach()[torch.arange(10), o], rtol=EXACT, atol=EXACT)


def test_repeated_jacobian_is_the_jacobian_of_a_float32_network(generator):
    torch.manual_seed(0)
    model = _network("mlp", 2)
    evaluate = RepeatedJacobian(model)
    for _ in range(3):
        x = torch.randn(5, 4, generator=generator)
        expected = jacobian(model, x, dtype=torch.float64)
        torch.testing.assert_close(evaluate(x).gram(), expected.gram(), rtol=EXACT, atol=EXACT)
        torch.testing.assert_close(evaluate(x).outputs, expected.outputs, rtol=EXACT, atol=EXACT)


def test_repeated_jacobian_keeps_its_parameters_until_refreshed(generator):
    torch.manual_seed(0)
    model = _network("plain", 1).double()
    evaluate, x = RepeatedJacobian(model), torch.randn(3, 4, dtype=torch.float64, generator=generator)
    before = evaluate(x).gram()
    with torch.no_grad():
        model[0].weight.mul_(2)
    assert torch.equal(evaluate(x).gram(), before)
    evaluate.refresh()
    torch.testing.assert_close(evaluate(x).gram(), jacobian(model, x).gram(), rtol=EXACT, atol=EXACT)
