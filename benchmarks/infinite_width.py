"""Infinite-width kernels: against the arithmetic alone, the memory bus and an untiled implementation.

    python benchmarks/infinite_width.py                  # all
    python benchmarks/infinite_width.py kernels budget   # some: kernels, peers, budget, activations

Times are medians of runs that take turns; "CPU s / threads" is the time the processor spent, over the number of
threads, which other users of the machine do not add to. Bytes moved are those of every operation that torch
dispatches while one kernel is computed: what it reads (once for each operand, broadcast entries once) and what it
writes, views free; tiles that stay in a core's cache may move them faster than the memory bus.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import ntkgap as ng
from ntkgap.kernels.infinite.activations import find_activation
from ntkgap.models import ConvNet

WIDTH = 8  # of the finite network that stands for the infinite one; the kernels do not depend on it
MLP_CASE = "3 × (dense, ReLU), n=2000, d=784"

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    MLP_CASE: (lambda: ng.MLP(784, 1, WIDTH, 3), (2000, 784), 0.3),
    "3 × (conv 3×3, ReLU), global mean, n=16, 16×16": (lambda: ConvNet(3, 1, WIDTH, 3), (16, 3, 16, 16), 2.5),
    "3 × (conv 3×3, ReLU), global mean, n=8, 32×32": (lambda: ConvNet(3, 1, WIDTH, 3), (8, 3, 32, 32), 9.0),
    "3 × (conv 3×3, ReLU), flatten, n=128, 32×32": (
        lambda: ConvNet(3, 1, WIDTH, 3, pooling="flatten", image_size=32),
        (128, 3, 32, 32),
        1.0,
    ),
}
BUDGETS = {MLP_CASE: 10 * 2**20, "3 × (conv 3×3, ReLU), global mean, n=16, 16×16": 50 * 2**20}
CLOSED_FORMS = ("relu", "leaky_relu", "abs", "erf", "gelu", "sin", "cos", "exp", "square")
BY_QUADRATURE = ("tanh", "sigmoid", "silu", "softplus", "elu")


class Traffic(TorchDispatchMode):
    """Counts the bytes that the operations inside read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view or name.startswith(("empty", "new_empty", "_local_scalar", "detach")):
            return result
        overwrites = name in ("copy_", "fill_", "zero_")  # these do not read what they write to
        operands = (args, kwargs or {}) if not overwrites else args[1:]
        self.bytes += sum(map(size_in_memory, tensors_of(operands))) + sum(map(size_in_memory, tensors_of(result)))
        return result


def tensors_of(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def size_in_memory(x: Tensor) -> int:
    """Bytes of the entries there are; an expanded axis has one."""
    entries = math.prod(size for size, step in zip(x.shape, x.stride(), strict=True) if step)
    return entries * x.element_size()


def untiled(x: Tensor, depth: int = 3) -> tuple[Tensor, Tensor]:
    """The textbook: the recursion of a ReLU network with σ_w = 1 on whole matrices."""
    nngp = x @ x.T / x.shape[1]
    ntk = nngp.clone()
    for _ in range(depth):
        scale = nngp.diagonal().sqrt()
        norms = scale[:, None] * scale
        rho = (nngp / norms).clamp(-1, 1)
        theta = torch.acos(rho)
        slope = (math.pi - theta) / (2 * math.pi)
        nngp = norms * (torch.sqrt(1 - rho**2) / (2 * math.pi) + rho * slope)
        ntk = nngp + ntk * slope
    return nngp, ntk


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor over the number of threads."""
    start, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, (time.process_time() - used) / torch.get_num_threads()


def in_turns(runs: list[Callable[[], object]], times: int) -> list[tuple[float, float]]:
    """Medians of runs that take turns, on the clock and of the processor."""
    measured: list[list[tuple[float, float]]] = [[] for _ in runs]
    for run in runs:
        run()
    for _ in range(times):
        for run, into in zip(runs, measured, strict=True):
            into.append(timed(run))
    return [tuple(statistics.median(column) for column in zip(*into, strict=True)) for into in measured]


def bandwidth() -> float:
    """Bytes a second of c = a + b on arrays far larger than any cache."""
    a, b, c = (torch.ones(2**25) for _ in range(3))
    return 3 * a.numel() * 4 / statistics.median(timed(lambda: torch.add(a, b, out=c))[0] for _ in range(9))


def bytes_moved(run: Callable[[], object]) -> int:
    """In one thread: only there does torch report what is dispatched."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Traffic() as traffic:
            run()
    finally:
        torch.set_num_threads(threads)
    return traffic.bytes


def kernels(repeat: int) -> None:
    print(f"\nΣ and Θ, float32, {torch.get_num_threads()} threads; memory bus {bandwidth() / 1e9:.1f} GB/s\n")
    print("| network | s | CPU s / threads | aim s | GB moved | GB/s | of memory bus |")
    print("|---|---|---|---|---|---|---|")
    for name, (build, shape, aim) in CASES.items():
        torch.manual_seed(0)
        limit, x = ng.infinite_width(build()), torch.randn(shape)
        ours = lambda limit=limit, x=x: limit.kernels(x)  # noqa: E731
        ((seconds, processor),) = in_turns([ours], repeat)
        moved, bus = bytes_moved(ours), bandwidth()
        row = [f"{seconds:.3f}", f"{processor:.3f}", f"{aim:g}", f"{moved / 1e9:.1f}"]
        row += [f"{moved / seconds / 1e9:.1f}", f"{moved / seconds / bus:.2f}"]
        print("| " + " | ".join([name, *row]) + " |", flush=True)


def peers(repeat: int) -> None:
    torch.manual_seed(0)
    build, shape, _ = CASES[MLP_CASE]
    limit, x = ng.infinite_width(build()), torch.randn(shape)
    runs = {
        "ours": lambda: limit.kernels(x),
        "`x @ x.T` alone": lambda: x @ x.T,
        "untiled recursion on whole matrices": lambda: untiled(x),
    }
    (ours, processor), *others = in_turns(list(runs.values()), 3 * repeat)
    print(f"\n| {MLP_CASE} | s | CPU s / threads | ratio to ours |\n|---|---|---|---|")
    for name, (seconds, used) in zip(runs, [(ours, processor), *others], strict=True):
        print(f"| {name} | {seconds:.3f} | {used:.3f} | {seconds / ours:.2f} |", flush=True)
    difference = (limit.ntk(x) - untiled(x)[1]).norm() / limit.ntk(x).norm()
    print(f"\nRelative difference of Θ between ours and the untiled recursion: {difference:.0e}", flush=True)


def resident_peak() -> float:
    """In MiB. (``ru_maxrss`` would count the parent's memory, which a child has for a moment.)"""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def forget_peak() -> None:
    """Start the peak again from what is resident now."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as clear:
        clear.write("5")


def budget(repeat: int) -> None:
    print(
        "\n| network | memory_budget MiB | growth of resident memory less the result, MiB | s |\n|---|---|---|---|"
    )
    for name, given in BUDGETS.items():
        command = [sys.executable, __file__, "--peak", name, str(given)]
        done = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(repeat)]
        growth, seconds = zip(*(map(float, line.split()) for line in done), strict=True)
        spread = f"{statistics.median(growth):.0f} ({min(growth):.0f}–{max(growth):.0f})"
        print(f"| {name} | {given / 2**20:.0f} | {spread} | {statistics.median(seconds):.2f} |", flush=True)


def measure_peak(name: str, given: int) -> None:
    build, shape, _ = CASES[name]
    limit, x = ng.infinite_width(build()), torch.randn(shape)
    limit.kernels(x[:2], memory_budget=given)  # libraries are loaded, code is warm
    forget_peak()
    before = resident_peak()
    start = time.perf_counter()
    found = limit.kernels(x, memory_budget=given)
    seconds = time.perf_counter() - start
    results = sum(kernel.numel() * kernel.element_size() for kernel in found) / 2**20
    print(resident_peak() - before - results, seconds)


def activations(repeat: int) -> None:
    print("\n| nonlinearity | form | ns / pair, Σ and Σ̇ |\n|---|---|---|")
    q1, q2 = torch.rand(1000, 1) + 0.5, torch.rand(1, 1000) + 0.5
    c = (2 * torch.rand(1000, 1000) - 1) * (q1 * q2).sqrt()
    for name in (*CLOSED_FORMS, *BY_QUADRATURE):
        function = getattr(torch, name, None) or getattr(F, name)
        activation = find_activation(function) or find_activation(name)
        (seconds, _), *_ = in_turns([lambda a=activation: a.covariance(c, q1, q2, True)], repeat)
        form = "closed" if name in CLOSED_FORMS else "quadrature"
        print(f"| {name} | {form} | {seconds * 1e9 / c.numel():.1f} |", flush=True)


PARTS = {"kernels": kernels, "peers": peers, "budget": budget, "activations": activations}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        measure_peak(arguments.peak[0], int(arguments.peak[1]))
        return
    for part in arguments.parts or PARTS:
        PARTS[part](arguments.repeat)


if __name__ == "__main__":
    main()
