"""Random numbers of a seed, without the process's own generators."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from ntkgap.models.randomness import Seeded

DRAWS = {
    "layers": lambda: torch.cat(
        [p.flatten() for p in nn.Sequential(nn.Linear(5, 7), nn.Conv2d(2, 3, 3)).parameters()]
    ),
    "attention": lambda: torch.cat([p.flatten() for p in nn.MultiheadAttention(4, 2).parameters()]),
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(4, 4)),
    "truncated": lambda: nn.init.trunc_normal_(torch.empty(9)),
    "randn": lambda: torch.randn(3, 2),
    "rand": lambda: torch.rand(3, dtype=torch.float64),
    "randint": lambda: torch.randint(3, 30, (5,)),
    "randperm": lambda: torch.randperm(9),
    "like": lambda: torch.cat([torch.randn_like(torch.ones(2)), torch.rand_like(torch.ones(2))]),
    "normal": lambda: torch.normal(torch.zeros(2), torch.ones(2)),
    "distribution": lambda: torch.distributions.Gamma(2.0, 1.0).sample((3,)),
    "dropout": lambda: nn.functional.dropout(torch.ones(30)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_numbers_are_those_of_the_seed_and_nothing_else_changes(name):
    draw = DRAWS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = [draw(), draw()]
    before = torch.get_rng_state()
    with Seeded(5):
        found = [draw(), draw()]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(before, torch.get_rng_state())
    with Seeded(6):
        assert not torch.equal(draw(), expected[0])


def test_a_generator_that_is_given_is_used():
    own = torch.Generator().manual_seed(1)
    with Seeded(5):
        found = torch.randn(3, generator=own)
    assert torch.equal(found, torch.randn(3, generator=torch.Generator().manual_seed(1)))


def test_compiled_networks_draw_the_same():
    network = nn.Dropout()
    with Seeded(5):
        expected = network(torch.ones(30))
    with Seeded(5):
        assert torch.equal(torch.compile(network, backend="eager")(torch.ones(30)), expected)


ALONE = """
import sys, torch
from ntkgap.data import load_data
from ntkgap.models.randomness import Seeded
with Seeded(5):
    torch.randn(3)
load_data("digits")
print([name for name in ("torch._dynamo", "sklearn") if name in sys.modules])
"""


def test_neither_torchs_compiler_nor_scikit_learn_is_loaded():
    """Each takes two seconds, and workers are many."""
    said = subprocess.run([sys.executable, "-c", ALONE], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "[]"
