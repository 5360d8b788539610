"""Every module case against a Jacobian that is written out."""

import pytest
import torch

from ntkgap.kernels.empirical import jacobian
from tests.kernels.empirical.cases import CASES
from tests.kernels.empirical.conftest import relative_error
from tests.kernels.empirical.tolerances import EXACT_F64
from tests.reference.empirical import batched_jacobian, kernel, row_jacobian

everything = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def selected(case, model):
    if callable(case.parameters):
        return [k for k, p in model.named_parameters() if case.parameters(k, p)]
    return case.parameters or [k for k, p in model.named_parameters() if p.requires_grad]


@everything
def test_kernels_and_products_agree_with_the_written_out_jacobian(case):
    model, x1, x2 = case.model(), case.inputs(4), case.inputs(3, seed=2)
    reference = row_jacobian if case.rows else batched_jacobian
    names = selected(case, model)
    j1, j2 = reference(model, x1, names), reference(model, x2, names)
    before = {k: (p, p.clone(), p.requires_grad) for k, p in model.named_parameters()}
    buffers = {k: b.clone() for k, b in model.named_buffers()}

    at = jacobian(model, x1, parameters=case.parameters)
    assert set(at.recipe.fallback) == case.fallback
    assert relative_error(at.gram(), kernel(j1)) <= EXACT_F64
    other = jacobian(model, x2, parameters=case.parameters)
    assert relative_error(at.gram(other), kernel(j1, j2)) <= EXACT_F64
    v = torch.randn(at.outputs.shape, dtype=torch.float64)
    flat = torch.cat([g.flatten() for g in at.vjp(v).values()])
    assert relative_error(flat, torch.einsum("iap,ia->p", j1, v)) <= EXACT_F64

    for name, p in model.named_parameters():  # nothing was left behind
        same, value, trained = before[name]
        assert p is same
        assert p.requires_grad is trained
        assert p.grad is None
        assert torch.equal(p, value)
    assert all(torch.equal(b, buffers[k]) for k, b in model.named_buffers())
