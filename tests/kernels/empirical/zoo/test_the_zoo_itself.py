"""The cases are what they say: small, with something to differentiate, and no example notices another."""

import pytest
import torch

from tests.kernels.empirical.zoo.case import Net, double
from tests.kernels.empirical.zoo.cases import CASES
from tests.kernels.empirical.zoo.expected import N1, N2, expected
from tests.reference.trees import call, logits, one, tree_jacobian


def test_there_are_many_and_names_are_unique():
    names = [case.name for case in CASES]
    assert len(names) >= 170
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_small_and_proper(case):
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


def test_the_reference_by_hand():
    layer = torch.nn.Linear(2, 2).double()
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).double()
    rows = [[[a, b, 0, 0, 1, 0], [0, 0, a, b, 0, 1]] for a, b in x.tolist()]
    assert torch.equal(tree_jacobian(layer, x, 3), torch.tensor(rows, dtype=torch.float64))
    assert torch.equal(tree_jacobian(layer, x, 3, ["bias"]), torch.eye(2).double().expand(3, 2, 2))
    scaled = Net(lambda m, x, scale: {"logits": m.w * (x * scale).sum(1)}, w=torch.tensor(2.0)).double()
    inputs = {"x": x, "scale": torch.tensor([1.0, 10.0]).double()}  # the scale belongs to all
    assert tree_jacobian(scaled, inputs, 3).flatten().tolist() == [21.0, 43.0, 65.0]
