"""What a call takes beyond its result is within the budget, in a process of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
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
name, budget, dtype = sys.argv[1], int(sys.argv[2]), getattr(torch, sys.argv[3])
build, shape, n, width = BUILD[name]
for _ in range(2):
    ng.empirical_ntk(build(8), torch.randn(3, *shape), dtype=dtype)  # libraries are loaded
net, x = build(width), torch.randn(n, *shape)

def resident(what):
    for line in open("/proc/self/status"):
        if line.startswith(what):
            return int(line.split()[1]) * 1024

open("/proc/self/clear_refs", "w").write("5")  # the peak is from now on
before = resident("VmRSS")
kernel = ng.empirical_ntk(net, x, dtype=dtype, memory_budget=budget)
print(resident("VmHWM") - before - kernel.numel() * kernel.element_size())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(
    ("name", "megabytes", "dtype"),
    [("mlp", 15, "float32"), ("cnn", 30, "float32"), ("norm", 30, "float64"), ("fallback", 30, "float32")],
)
def test_the_budget_is_what_is_used(name, megabytes, dtype):
    command = [sys.executable, "-c", SCRIPT, name, str(megabytes * 10**6), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    if "clear_refs" in done.stderr:
        pytest.skip("the peak of memory cannot be reset here")
    assert done.returncode == 0, done.stderr
    # Eight megabytes for what libraries keep for themselves (work space of matrix products).
    assert int(done.stdout) <= megabytes * 10**6 + 8 * 10**6
