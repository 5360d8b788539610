"""Every public function gives the CPU's numbers on another device."""

import pytest
import torch

from tests.devices.cases import CASES, numbers


@pytest.mark.parametrize("name", CASES)
def test_gives_the_cpus_numbers(sim, name):
    expected, found = (numbers(CASES[name](torch.device(kind))) for kind in ("cpu", "sim:0"))
    assert len(expected) == len(found) > 0
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6, equal_nan=True)
