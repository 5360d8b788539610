"""Conjugate gradients say where there is no solution, whatever rounding makes of the residual they carry along."""

import pytest
import torch

from ntkgap.errors import KernelError
from ntkgap.linalg.conjugate_gradients import solve_damped
from tests.tolerances import EXACT


class RankOne:
    """K = j jᵀ of four equal rows, as of four copies of an example."""

    dtype, device, shape = torch.float64, torch.device("cpu"), (4, 4)

    def __init__(self, generator):
        self.j = torch.randn(1, 4, dtype=torch.float64, generator=generator).repeat(4, 1)

    def __matmul__(self, v):
        return self.j @ (self.j.T @ v)


def test_a_singular_system_without_a_solution_is_refused():
    # Of every hundred of these the residual that is carried along vanishes in two or three, by rounding alone.
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        operator, b = RankOne(generator), torch.randn(4, dtype=torch.float64, generator=generator)
        with pytest.raises(KernelError, match="raise damping"):
            solve_damped(operator, b, 0.0, 1.5e-8, 100, None)
    x = solve_damped(operator, b, 1e-3, 1e-12, 100, None)
    torch.testing.assert_close(operator @ x + 1e-3 * x, b, rtol=EXACT, atol=EXACT)
