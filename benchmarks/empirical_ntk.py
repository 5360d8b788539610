"""Empirical kernels: ours against ``torch.func`` and against the rate of this machine's matrix products.

    python benchmarks/empirical_ntk.py                 # all
    python benchmarks/empirical_ntk.py kernels mean    # some: kernels, mean, budget, operator

Peer and ours take turns in one process, medians are compared. "of GEMM limit" is our time over the time that
the FLOPs of our own passes and contractions would take at the rate of one large float32 product, measured in
the same run. Peaks are the growth of resident memory in a process of its own.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
from networks import Transformer, cnn, wide_resnet
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap
from torch.utils.flop_counter import FlopCounterMode

import ntkgap as ng
from ntkgap.kernels.empirical import JacobianChange, NTKOperator
from ntkgap.kernels.empirical.jacobian import Evaluation
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.recipe import find_recipe

CASES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "MLP 784-512x3-10, n=64": lambda: (ng.MLP(784, 10, 512, 3), torch.randn(64, 784)),
    "MLP 784-1024x3-10, n=256": lambda: (ng.MLP(784, 10, 1024, 3), torch.randn(256, 784)),
    "CNN 64-128-256, n=64": lambda: (cnn(), torch.randn(64, 3, 32, 32)),
    "WideResNet-16-2, n=16": lambda: (wide_resnet(), torch.randn(16, 3, 32, 32)),
    "Transformer 4 layers, n=16": lambda: (Transformer(), torch.randn(16, 64, 48)),
}
TOO_LARGE_FOR_PEER = {"MLP 784-1024x3-10, n=256"}  # n·C × P in float32 is 34 GB


def jacobian_contraction(model: nn.Module, x: Tensor) -> Tensor:
    """The textbook: every row of the Jacobian, then its Gram matrix."""
    params = {k: p.detach() for k, p in model.named_parameters()}

    def f(params: dict[str, Tensor], xi: Tensor) -> Tensor:
        return functional_call(model, params, (xi[None],))[0]

    blocks = vmap(jacrev(f), (None, 0))(params, x)
    return sum(torch.einsum("iap,jbp->ijab", b.flatten(2), b.flatten(2)) for b in blocks.values())


def ntk_vector_products(model: nn.Module, x: Tensor) -> Tensor:
    """The textbook's other way: a vjp and a jvp for every pair of examples and every output."""
    params = {k: p.detach() for k, p in model.named_parameters()}

    def f(xi: Tensor) -> Callable[[dict[str, Tensor]], Tensor]:
        return lambda params: functional_call(model, params, (xi[None],))[0]

    def pair(x1: Tensor, x2: Tensor) -> Tensor:
        out, pull = vjp(f(x1), params)
        return vmap(lambda v: jvp(f(x2), (params,), (pull(v)[0],))[1])(torch.eye(len(out)))

    return vmap(vmap(pair, (None, 0)), (0, None))(x, x)


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turns(runs: list[Callable[[], object]], times: int) -> list[float]:
    """Medians of runs that take turns."""
    measured: list[list[float]] = [[] for _ in runs]
    for _ in range(times):
        for run, into in zip(runs, measured, strict=True):
            into.append(timed(run))
            if into[-1] < 1:  # short runs more often: the first after another's pays for its caches
                into += [timed(run) for _ in range(4)]
    return [statistics.median(into) for into in measured]


def gemm_rate() -> float:
    """FLOP/s of one large float32 product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    for _ in range(3):
        a @ b
    return 2 * 2048**3 / statistics.median(timed(lambda: a @ b) for _ in range(9))


def flops_of(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def passes(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """The forward pass and the C backward passes alone, which every exact method needs."""
    point = Point(model)
    recipe = find_recipe(point, x)
    along = torch.eye(recipe.classes)
    return lambda: Evaluation(point, x, recipe).terms(along)


def peak(which: str, name: str) -> str:
    """Growth of resident memory in MB, in a fresh process."""
    command = [sys.executable, __file__, "--peak", which, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "failed"


def resident_peak() -> float:
    """In MB. (``ru_maxrss`` would count the parent's memory, which a child has for a moment.)"""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure_peak(which: str, name: str) -> None:
    model, x = CASES[name]()
    ng.empirical_ntk(model, x[:2])  # libraries are loaded, code is warm
    before = resident_peak()
    ng.empirical_ntk(model, x) if which == "ours" else jacobian_contraction(model, x)
    print(f"{resident_peak() - before:.0f}")


def kernels(repeat: int) -> None:
    rate = gemm_rate()
    print(f"\nFull kernels, float32, {torch.get_num_threads()} threads, one product at {rate / 1e9:.0f} GFLOP/s\n")
    print(
        "| network | ours s | passes alone s | GFLOP | of GEMM limit | jacobian contraction s | GFLOP | ratio |"
        " ntk-vp s (n=4, scaled) | ratio | peak MB ours | peer | rel. difference |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, build in CASES.items():
        torch.manual_seed(0)
        model, x = build()
        ours = lambda m=model, x=x: ng.empirical_ntk(m, x)  # noqa: E731
        flops = flops_of(ours)
        ours()
        if name in TOO_LARGE_FOR_PEER:
            t, alone = in_turns([ours, passes(model, x)], repeat)
            cells = ["does not fit", "–", "–"]
            difference = "–"
        else:
            expected = jacobian_contraction(model, x)
            difference = f"{float((ours() - expected).abs().max() / expected.abs().max()):.0e}"
            contraction = lambda m=model, x=x: jacobian_contraction(m, x)  # noqa: E731
            t, alone, peer = in_turns([ours, passes(model, x), contraction], repeat)
            cells = [f"{peer:.2f}", f"{flops_of(contraction) / 1e9:.1f}", f"{peer / t:.1f}"]
        try:
            products = timed(lambda m=model, x=x: ntk_vector_products(m, x[:4])) * (len(x) / 4) ** 2
            cells += [f"{products:.1f}", f"{products / t:.0f}"]
        except (RuntimeError, NotImplementedError):
            cells += ["fails", "–"]
        limit = gemm_rate()
        memory = [peak("ours", name), "–" if name in TOO_LARGE_FOR_PEER else peak("peer", name)]
        row = [
            name,
            f"{t:.4f}",
            f"{alone:.4f}",
            f"{flops / 1e9:.1f}",
            f"{t * limit / flops:.2f}",
            *cells,
            *memory,
            difference,
        ]
        print("| " + " | ".join(row) + " |", flush=True)


def mean(repeat: int) -> None:
    print(
        "\nMean kernel against full kernel, C=10\n\n| network | full s | mean s | mean / full |\n|---|---|---|---|"
    )
    for name, build in CASES.items():
        model, x = build()
        runs = [
            lambda m=model, x=x: ng.empirical_ntk(m, x),
            lambda m=model, x=x: ng.empirical_ntk(m, x, outputs="mean"),
        ]
        in_turns(runs, 1)
        full, less = in_turns(runs, repeat)
        print(f"| {name} | {full:.4f} | {less:.4f} | {less / full:.2f} |", flush=True)


def budget(repeat: int) -> None:
    model, x = cnn(), torch.randn(512, 3, 32, 32)
    ng.empirical_ntk(model, x[:2])
    before = resident_peak()
    seconds = timed(lambda: ng.empirical_ntk(model, x, outputs="mean", memory_budget=10**9))
    print(
        f"\nCNN, n=512, mean kernel, memory_budget=1e9: {seconds:.1f} s, resident memory grew by "
        f"{resident_peak() - before:.0f} MB (result {512 * 512 * 4 / 1e6:.0f} MB)",
        flush=True,
    )


def operator(repeat: int) -> None:
    torch.manual_seed(0)
    model, x = ng.MLP(784, 10, 4096, 3), torch.randn(1000, 784)
    start = copy.deepcopy(model)
    with torch.no_grad():
        for p in model.parameters():
            p += 1e-2 * torch.randn_like(p)
    seconds = time.perf_counter()
    op = NTKOperator(model, x, memory_budget=3 * 10**9)
    found = op.eigenvalue_range()
    print(
        f"\nMLP of width 4096, n=1000, C=10: {found} in {time.perf_counter() - seconds:.0f} s, "
        f"trace {op.trace()!r}"
    )
    del op
    seconds = time.perf_counter()
    norm = JacobianChange(model, start, x, memory_budget=3 * 10**9).jacobian_norm()
    print(
        f"‖J(θ) − J(θ₀)‖₂ = {norm!r} in {time.perf_counter() - seconds:.0f} s; "
        f"peak of the whole process {resident_peak():.0f} MB",
        flush=True,
    )


PARTS = {"kernels": kernels, "mean": mean, "budget": budget, "operator": operator}


def main() -> None:
    warnings.filterwarnings("ignore", message="There is a performance drop")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        measure_peak(*arguments.peak)
        return
    for part in arguments.parts or PARTS:
        # A process for each part: peaks of one must not hide those of another.
        if len(arguments.parts) == 1:
            PARTS[part](arguments.repeat)
        else:
            subprocess.run([sys.executable, __file__, part, "--repeat", str(arguments.repeat)], check=True)


if __name__ == "__main__":
    main()
