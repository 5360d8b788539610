import pytest
import torch

import ntkgap as ng
from ntkgap.errors import KernelError
from tests.tolerances import EXACT


def pair(generator):
    return (torch.randn(2, 6, 6, dtype=torch.float64, generator=generator) @ torch.eye(6).double()).unbind()


def test_kernel_distance_is_one_minus_cosine_and_ignores_scale(generator):
    a, b = pair(generator)
    cosine = (a * b).sum() / (a.norm() * b.norm())
    assert ng.kernel_distance(a, b) == pytest.approx(1 - cosine.item(), rel=EXACT)
    assert ng.kernel_distance(3 * a, a) == pytest.approx(0, abs=EXACT)
    assert ng.kernel_distance(a, b) == pytest.approx(ng.kernel_distance(b, 7 * a), rel=EXACT)


def test_kernel_distance_resolves_tiny_changes(generator):
    """1 − cos of a change of relative size ε is ε²/2: far below what 1 − cos can resolve in float64."""
    a, b = pair(generator)
    b = b - (a * b).sum() / a.square().sum() * a  # orthogonal to a
    b = b * (1e-9 * a.norm() / b.norm())
    assert ng.kernel_distance(a + b, a) == pytest.approx(0.5e-18, rel=1e-5)


def test_relative_change(generator):
    a, _ = pair(generator)
    assert ng.kernels.relative_change(1.25 * a, a) == pytest.approx(0.25, rel=EXACT)
    assert ng.kernels.relative_change(a, a) == 0


def test_alignment_is_one_for_the_kernel_of_the_targets(generator):
    y = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    v = y.reshape(-1)
    assert ng.kernels.target_alignment(torch.outer(v, v), y) == pytest.approx(1, rel=EXACT)
    identity = torch.eye(10, dtype=torch.float64)
    assert ng.kernels.target_alignment(identity, y) == pytest.approx(10**-0.5, rel=EXACT)


def test_a_zero_kernel_has_no_distance():
    with pytest.raises(KernelError, match="one of the kernels is zero"):
        ng.kernels.relative_change(torch.eye(2), torch.zeros(2, 2))


def test_shapes_must_match():
    with pytest.raises(KernelError, match=r"\(2, 2\) and \(3, 3\)"):
        ng.kernel_distance(torch.eye(2), torch.eye(3))
    with pytest.raises(KernelError, match="Gram matrix of 6 rows"):
        ng.kernels.target_alignment(torch.eye(3), torch.ones(3, 2))
