"""The zoo is large, and its reference is right by hand."""

import torch

from tests.kernels.empirical.zoo.case import Net
from tests.kernels.empirical.zoo.cases import CASES
from tests.reference.trees import tree_jacobian


def test_there_are_many_and_names_are_unique():
    names = [case.name for case in CASES]
    assert len(names) >= 170
    assert len(set(names)) == len(names)


def test_the_reference_by_hand():
    layer = torch.nn.Linear(2, 2).double()
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).double()
    rows = [[[a, b, 0, 0, 1, 0], [0, 0, a, b, 0, 1]] for a, b in x.tolist()]
    assert torch.equal(tree_jacobian(layer, x, 3), torch.tensor(rows, dtype=torch.float64))
    assert torch.equal(tree_jacobian(layer, x, 3, ["bias"]), torch.eye(2).double().expand(3, 2, 2))
    scaled = Net(lambda m, x, scale: {"logits": m.w * (x * scale).sum(1)}, w=torch.tensor(2.0)).double()
    inputs = {"x": x, "scale": torch.tensor([1.0, 10.0]).double()}  # the scale belongs to all
    assert tree_jacobian(scaled, inputs, 3).flatten().tolist() == [21.0, 43.0, 65.0]
