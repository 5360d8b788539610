"""The cases are what they say: small, with something to differentiate, and no example notices another."""

import pytest
import torch

from tests.kernels.empirical.zoo.case import double
from tests.kernels.empirical.zoo.cases import CASES
from tests.kernels.empirical.zoo.expected import N1, N2, expected
from tests.reference.trees import call, logits, one


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
