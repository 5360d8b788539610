"""Kernels, infinite width, the monitor and a study on a GPU, beside the CPU and hand-written ``torch.func``.

Run it once on a machine with a GPU, in ten minutes, and paste the table that it prints:

    python benchmarks/gpu.py                  # the first GPU, beside the CPU
    python benchmarks/gpu.py --device cuda:1
    python benchmarks/gpu.py --device cpu     # small sizes: to see that it runs

Every line is the median of three runs after one that does not count; ``×`` is the CPU's or torch.func's seconds by
ours on the device, and ``error`` the largest difference to the CPU's numbers, relative to the largest of them.
A second table trains the networks of several seeds as one stack and one by one; on the CPU its seconds are those
of the processor, of one thread.
"""

import argparse
import copy
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

import ntkgap as ng
from ntkgap.models.devices import available_devices, find_device

REPEATS = 3
SEEDS = 6

# How networks learn: (settings, training examples of a task).
LEARNING: dict[str, tuple[dict[str, Any], int]] = {
    "gradient descent": ({"optimizer": "gd", "learning_rate": 1e-3}, 60),
    "SGD, batches of 50": (
        {"optimizer": "sgd", "momentum": 0.0, "batch_size": 50, "learning_rate": 1e-3, "loss": "cross_entropy"},
        500,
    ),
}


def seconds_of(
    call: Callable[[], Any], device: torch.device, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    """Median seconds, and what the last call gave."""

    def wait() -> None:
        if device.type != "cpu":
            torch.get_device_module(device).synchronize()

    found, taken = call(), []
    for _ in range(REPEATS):
        wait()
        start = clock()
        found = call()
        wait()
        taken.append(clock() - start)
    return statistics.median(taken), found


def by_hand(network: nn.Module, x: Tensor) -> Tensor:
    """The kernel summed over outputs, from the Jacobian that torch.func writes out."""
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def one(p: dict[str, Tensor], example: Tensor) -> Tensor:
        return functional_call(network, p, (example[None],))[0]

    found = vmap(jacrev(one), (None, 0))(parameters, x)
    return sum(torch.einsum("icp,jcp->ij", j.flatten(2), j.flatten(2)) for j in found.values()) / len_of(found)


def len_of(found: dict[str, Tensor]) -> int:
    """Outputs C."""
    return next(iter(found.values())).shape[1]


def error_of(found: Any, expected: Any) -> float:
    """Largest difference, relative to the largest number."""
    if not isinstance(found, Tensor):
        return math.nan
    a, b = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((a - b).abs().max() / b.abs().max())


def line(name: str, ours: float, cpu: float | None, hand: float | None, error: float) -> None:
    """One row of the table."""

    def part(other: float | None) -> str:
        return "-" if other is None else f"{other:.3g} s ({other / ours:.1f}×)"

    print(f"| {name} | {ours:.3g} s | {part(cpu)} | {part(hand)} | {error:.1e} |", flush=True)


def compare(
    name: str,
    build: Callable[[torch.device], tuple[nn.Module, Tensor]],
    work: Callable[[nn.Module, Tensor], Any],
    device: torch.device,
    peer: Callable[[nn.Module, Tensor], Any] | None = None,
) -> None:
    """Time one thing on the device, on the CPU, and by hand on the device."""
    cpu = torch.device("cpu")
    network, x = build(device)
    ours, found = seconds_of(lambda: work(network, x), device)
    beside, expected = (None, found) if device == cpu else seconds_of(lambda: work(*build(cpu)), cpu)
    hand: float | None = None
    if peer is not None:
        try:
            hand, by_peer = seconds_of(lambda: peer(network, x), device)
            expected = by_peer if device == cpu else expected
        except torch.OutOfMemoryError:
            print(f"| (torch.func is out of memory: {name}) |")
    line(name, ours, beside, hand, error_of(found, expected))


def dense(width: int, n: int) -> Callable[[torch.device], tuple[nn.Module, Tensor]]:
    """An MLP with three hidden layers on CIFAR-like vectors."""

    def build(device: torch.device) -> tuple[nn.Module, Tensor]:
        network = ng.MLP(3072, 10, width, 3, generator=torch.Generator().manual_seed(0))
        return network.to(device), torch.randn(n, 3072, generator=torch.Generator().manual_seed(1)).to(device)

    return build


def convolutional(width: int, n: int, size: int) -> Callable[[torch.device], tuple[nn.Module, Tensor]]:
    """Three convolutions on images."""

    def build(device: torch.device) -> tuple[nn.Module, Tensor]:
        network = ng.ConvNet(3, 10, width, 3, generator=torch.Generator().manual_seed(0))
        images = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))
        return network.to(device), images.to(device)

    return build


def mean_kernel(network: nn.Module, x: Tensor) -> Tensor:
    return ng.empirical_ntk(network, x, outputs="mean")


def watched(network: nn.Module, x: Tensor) -> Tensor:
    """Ten steps of training with the monitor's eye on them."""
    network = copy.deepcopy(network)
    y = torch.zeros(len(x), 10, device=x.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    monitor = ng.Monitor(network, x[:64], y[:64], loss="squared", optimizer=optimizer, budget=None)
    for step in range(10):
        optimizer.zero_grad()
        (network(x) - y).square().mean().backward()
        optimizer.step()
        if step % 5 == 4:
            monitor.observe(step)
    return torch.tensor(monitor.to_pandas()["kernel_change"].dropna().tolist())


def study(device: torch.device) -> float:
    """Seconds of one cell of the optimization study."""
    found = ng.OptimizationStudy.preset("smoke", seeds=1, device=str(device))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        runs = ng.run(found, f"{folder}/store", workers=1, progress=False)
        assert runs.counts()["done"] == len(found.cells()), "a cell failed"
        return time.perf_counter() - start


def at_once(device: torch.device, width: int, how: str, steps: int) -> None:
    """Networks of several seeds learn three tasks each as one stack, and one by one."""
    settings, n = LEARNING[how]
    settings = settings | {"stop": ng.continual.Steps(steps)}
    shape = {"n_train": n, "n_test": 200, "tasks": 3, "angle": 22.5, "flatten": True}
    streams, networks = [], []
    for seed in range(SEEDS):
        streams.append(ng.continual.load_stream("rotated", "digits", seed=seed, **shape).to(device))
        generator = torch.Generator().manual_seed(seed)
        networks.append(ng.MLP(64, 10, width, 1, generator=generator).to(device))
    seeds = list(range(SEEDS))

    def stack() -> Tensor:
        return ng.continual.train_tasks(networks, streams, seeds=seeds, **settings).distance

    def alone() -> Tensor:
        parts = zip(networks, streams, seeds, strict=True)
        found = [ng.continual.train_tasks([net], tasks, seeds=[seed], **settings) for net, tasks, seed in parts]
        return torch.cat([runs.distance for runs in found])

    clock = time.process_time if device.type == "cpu" else time.perf_counter
    (ours, found), (theirs, expected) = (seconds_of(call, device, clock) for call in (stack, alone))
    error = error_of(found, expected)
    print(
        f"| {how}, width {width} | {ours:.3g} s | {theirs:.3g} s ({theirs / ours:.1f}×) | {error:.1e} |",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    gpus = [name for name in available_devices() if name != "cpu"]
    parser.add_argument("--device", default=gpus[0] if gpus else "cpu")
    parser.add_argument("--small", action="store_true", help="small sizes, as always on the CPU")
    parser.add_argument("--without-study", action="store_true", help="leave the study out")
    given = parser.parse_args(arguments)
    device = find_device(given.device)
    small = given.small or device.type == "cpu"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    print(f"ntkgap {ng.__version__}, torch {torch.__version__}, {name}, {torch.get_num_threads()} CPU threads\n")
    print(f"| what | {device} | CPU | torch.func on {device} | error |\n|---|---|---|---|---|")
    m, n = (16, 8) if small else (1024, 512)
    compare(f"kernel, MLP width {m}, n = {n}, C = 10", dense(m, n), mean_kernel, device, by_hand)
    c, k, s = (4, 4, 8) if small else (64, 128, 32)
    conv = convolutional(c, k, s)
    compare(f"kernel, 3 convolutions, {c} channels, {s}×{s}, n = {k}", conv, mean_kernel, device, by_hand)
    few = 8 if small else 256
    compare(
        f"20 Lanczos steps on NTKOperator, MLP width {m}, n = {few}",
        dense(m, few),
        lambda network, x: torch.tensor(ng.NTKOperator(network, x).eigenvalue_range(max_steps=20).largest),
        device,
    )
    n = 16 if small else 4096
    compare(f"infinite width, MLP, n = {n}", dense(8, n), lambda net, x: ng.infinite_width(net).ntk(x), device)
    n = 4 if small else 64
    compare(
        f"infinite width, 3 convolutions, {s}×{s}, n = {n}",
        convolutional(4, n, s),
        lambda net, x: ng.infinite_width(net).ntk(x),
        device,
    )
    compare(f"monitor, 10 steps, MLP width {m}", dense(m, 64), watched, device)
    if not given.without_study:
        ours = study(device)
        cpu = None if device.type == "cpu" else study(torch.device("cpu"))
        line("optimization study, preset smoke, 1 seed, 1 worker", ours, cpu, None, math.nan)
    steps, widths = (4, [8]) if given.small else (100, [32, 512])
    print(f"\n| {SEEDS} seeds, 3 tasks of {steps} steps | at once | one by one | error |\n|---|---|---|---|")
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else threads)
    for how in LEARNING:
        for width in widths:
            at_once(device, width, how, steps)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
