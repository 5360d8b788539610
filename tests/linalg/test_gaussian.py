"""Gaussians over functions: draws have the moments, and covariances the form, that they should."""

import pytest
import torch

from ntkgap.errors import KernelError
from ntkgap.linalg import Gaussian
from ntkgap.linalg.gaussian import as_covariance
from tests.tolerances import EXACT

COUNT = 40_000


def gaussian(k, c, rank, seed=0, leading=()):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(*leading, k, rank, generator=generator, dtype=torch.float64)
    return Gaussian(torch.randn(*leading, k, c, generator=generator, dtype=torch.float64), root @ root.mT)


@pytest.mark.parametrize("leading", [(), (2,)], ids=str)
@pytest.mark.parametrize("rank", [3, 1])
def test_draws_have_the_mean_and_the_covariance_and_outputs_are_independent(leading, rank, generator):
    g = gaussian(3, 2, rank, leading=leading)
    drawn = g.draw(COUNT, generator)
    assert drawn.shape == (COUNT, *leading, 3, 2)
    flat = (drawn - g.mean).movedim(-1, -2).flatten(-2)  # output first: [count, ..., C·k]
    among_outputs = torch.eye(2, dtype=torch.float64)
    expected = torch.stack([torch.kron(among_outputs, v) for v in g.covariance.reshape(-1, 3, 3)])
    expected = expected.reshape(*leading, 6, 6)
    scale = expected.diagonal(dim1=-2, dim2=-1).sqrt()
    assert (flat.mean(0).abs() <= 5 * scale / COUNT**0.5).all()
    found = torch.einsum("s...a,s...b->...ab", flat, flat) / COUNT
    # The variance of a product of two Gaussians is v_a v_b + v_ab², at most 2 v_a v_b.
    allowed = 5 * (2 / COUNT) ** 0.5 * scale[..., :, None] * scale[..., None, :]
    assert ((found - expected).abs() <= allowed).all()


def test_draws_of_a_singular_gaussian_lie_where_it_does(generator):
    g = gaussian(5, 1, 2)
    drawn = (g.draw(20, generator) - g.mean)[..., 0]
    _, vectors = torch.linalg.eigh(g.covariance)
    scale = float(g.std.max())
    assert float((drawn @ vectors[:, :3]).abs().max()) < 1e-6 * scale  # a square root of rounding
    assert float((drawn @ vectors[:, 3:]).abs().min(1).values.max()) > 0.1 * scale


def test_a_generator_makes_draws_again():
    g = gaussian(3, 2, 3)
    first, again, other = (g.draw(2, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.manual_seed(0)
    assert torch.equal(g.draw(2), first)


@pytest.mark.parametrize("rank", [5, 2])
def test_the_root_multiplies_to_the_covariance_and_deviations_are_roots_of_its_diagonal(rank):
    g = gaussian(5, 1, rank, leading=(3,))
    torch.testing.assert_close(g.root @ g.root.mT, g.covariance, rtol=EXACT, atol=EXACT)
    assert g.std.shape == (3, 5)
    torch.testing.assert_close(torch.diag_embed(g.std**2), g.covariance * torch.eye(5), rtol=EXACT, atol=EXACT)


def test_a_covariance_is_symmetric_and_rounding_of_zero_variances_is_zero():
    weights = torch.ones(2, 3, dtype=torch.float64)
    matrix = torch.tensor([[1.0, 0.5], [0.3, -1e-15]], dtype=torch.float64)
    found = as_covariance(matrix, weights, 1.0, 2**-52)
    assert torch.equal(found, torch.tensor([[1.0, 0.4], [0.4, 0.0]], dtype=torch.float64))
    assert matrix[1, 1] == -1e-15  # what was given is not changed


def test_the_bound_is_that_of_three_terms():
    """10 n ε max|K| (1 + ‖b‖₁)²: here 10 · 3 · 2⁻⁵² · 2 · 16."""
    weights, bound = torch.ones(1, 3, dtype=torch.float64), 10 * 3 * 2**-52 * 2 * 16
    one = torch.ones(1, 1, dtype=torch.float64)
    assert float(as_covariance(-0.99 * bound * one, weights, 2.0, 2**-52)) == 0
    with pytest.raises(KernelError, match=r"the predicted variance is negative \(-2.15e-13, beyond rounding\)"):
        as_covariance(-1.01 * bound * one, weights, 2.0, 2**-52)
    with pytest.raises(KernelError, match="the kernels do not belong together; take all of them from one network"):
        as_covariance(torch.diag(torch.tensor([1.0, -0.1])).double(), weights.expand(2, 3), 1.0, 2**-23)
