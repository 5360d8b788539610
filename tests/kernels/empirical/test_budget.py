"""What a call takes beyond its result is within the budget, in a process of its own."""

import json
import subprocess
import sys

import pytest

CASES = {
    "mlp": (15_000_000, "float32"),
    "cnn": (30_000_000, "float32"),
    "norm": (30_000_000, "float64"),
    "fallback": (30_000_000, "float32"),
}

SCRIPT = """
import json, os, sys
import torch
from torch import nn
import ntkgap as ng

class UpcastingNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        y = x.float()
        return self.weight * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)

class OneByOne(nn.Module):  # has no structure: everything falls back
    def __init__(self, w):
        super().__init__()
        self.a, self.b = nn.Linear(64, w), nn.Linear(w, 10)

    def forward(self, x):
        return torch.stack([self.b(torch.tanh(self.a(one))) for one in x])

torch.set_num_threads(1)
BUILD = {
    "mlp": (lambda w: nn.Sequential(nn.Linear(784, w), nn.ReLU(), nn.Linear(w, w), nn.ReLU(), nn.Linear(w, 10)),
            (784,), 192, 256),
    "cnn": (lambda w: nn.Sequential(nn.Conv2d(3, w, 3, padding=1), nn.ReLU(), nn.Conv2d(w, 2 * w, 3, stride=2),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * w, 10)), (3, 24, 24), 48, 24),
    "norm": (lambda w: nn.Sequential(nn.Linear(64, w), UpcastingNorm(w), nn.SiLU(), nn.Linear(w, w),
             UpcastingNorm(w), nn.Linear(w, 10)), (64,), 128, 256),
    "fallback": (OneByOne, (64,), 64, 64),
}

def resident(what):
    for line in open("/proc/self/status"):
        if line.startswith(what):
            return int(line.split()[1]) * 1024

def measure(name, budget, dtype):
    build, shape, n, width = BUILD[name]
    for _ in range(2):
        ng.empirical_ntk(build(8), torch.randn(3, *shape), dtype=dtype)  # libraries are loaded
    net, x = build(width), torch.randn(n, *shape)
    open("/proc/self/clear_refs", "w").write("5")  # the peak is from now on
    before = resident("VmRSS")
    kernel = ng.empirical_ntk(net, x, dtype=dtype, memory_budget=budget)
    print(name, resident("VmHWM") - before - kernel.numel() * kernel.element_size(), flush=True)

for name, (budget, dtype) in json.loads(sys.argv[1]).items():
    if os.fork() == 0:  # torch is loaded once, and each has memory that no other has used
        measure(name, budget, getattr(torch, dtype))
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def used():
    """Bytes that each case took beyond its result."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "clear_refs" in done.stderr:
        pytest.skip("the peak of memory cannot be reset here")
    sizes = {name: int(size) for name, size in map(str.split, done.stdout.splitlines())}
    assert list(sizes) == list(CASES), done.stderr
    return sizes


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", CASES)
def test_the_budget_is_what_is_used(name, used):
    # Eight megabytes for what libraries keep for themselves (work space of matrix products).
    assert used[name] <= CASES[name][0] + 8 * 10**6
