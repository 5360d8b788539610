from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from ntkgap.models.forward_mode import forward_derivative
from tests.tolerances import EXACT


def cube_of_sine(x):
    return torch.sin(x) ** 3


@pytest.mark.parametrize("linear", [True, False])
def test_threads_do_not_spoil_each_other(linear, generator):
    """torch.func.jvp in several threads fails, or forgets the direction."""
    x, w = torch.randn(2, 5, dtype=torch.float64, generator=generator)

    def run(i):
        return forward_derivative(cube_of_sine, (x + i,), (w,), linear)

    with ThreadPoolExecutor(8) as pool:
        for i, (value, change) in enumerate(pool.map(run, range(200))):
            torch.testing.assert_close(value, cube_of_sine(x + i), rtol=EXACT, atol=EXACT)
            expected = 3 * torch.sin(x + i) ** 2 * torch.cos(x + i) * w
            torch.testing.assert_close(change, expected, rtol=EXACT, atol=EXACT)


def test_within_transforms(generator):
    x, w = torch.randn(2, 5, dtype=torch.float64, generator=generator)

    def first(x):
        return forward_derivative(torch.sin, (x,), (w,))[1]

    torch.testing.assert_close(torch.func.jvp(first, (x,), (w,))[1], -torch.sin(x) * w**2)
    torch.testing.assert_close(torch.func.grad(lambda x: first(x).sum())(x), -torch.sin(x) * w)
    both = torch.func.vmap(lambda x, w: forward_derivative(torch.sin, (x,), (w,))[1])
    torch.testing.assert_close(both(x, w), torch.cos(x) * w)


@pytest.mark.parametrize("linear", [True, False])
def test_what_does_not_depend_on_the_parameters(linear, generator):
    x, w = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    value, change = forward_derivative(lambda _: torch.ones(3), (x,), (w,), linear)
    assert value.tolist() == [1, 1, 1]
    assert change.tolist() == [0, 0, 0]
