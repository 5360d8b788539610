"""What watching a training costs, beside hand-written ``torch.func`` code for the same quantities in the same run.

``python benchmarks/monitor.py [overhead] [by_hand] [memory]``, ``--probe 8`` for a smaller probe

overhead: WideResNet-16-2 (GroupNorm) on 32×32 images at batch 64, 100 steps, 8 observations.
by_hand: one observation of everything, ours and by hand: Jacobians by ``vmap(jacrev)``, the gap by ``jvp``, the
curvature from the kernel. For the WideResNet also along the sampled outputs.
memory: growth of resident memory for a network of 10⁷ parameters, in a fresh process.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vmap

import ntkgap as ng

LOSS = nn.CrossEntropyLoss()


def wide_resnet() -> tuple[nn.Module, Tensor]:
    """The network of the aim, and a probe."""
    model = ng.WideResNet(3, 10, width=32, depth=2, parametrization="standard", normalization="group")
    return model, torch.randn(32, 3, 32, 32)


def mlp() -> tuple[nn.Module, Tensor]:
    return ng.MLP(784, 10, width=512, depth=3, parametrization="standard"), torch.randn(25, 784)


def by_hand(start: dict[str, Tensor], k0: Tensor, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """The same quantities, whole kernels, as one would write them."""
    now = {name: p.detach() for name, p in model.named_parameters()}
    outputs = functional_call(model, now, (x,))

    def one(params: dict[str, Tensor], xi: Tensor) -> Tensor:
        return functional_call(model, params, (xi[None],))[0]

    f0, linear = jvp(
        lambda p: functional_call(model, p, (x,)), (start,), ({name: now[name] - p for name, p in start.items()},)
    )
    kernel = kernel_by_hand(one, now, x)
    gram = kernel.permute(0, 2, 1, 3).reshape(outputs.numel(), -1)
    p = outputs.softmax(1)
    s = torch.block_diag(*(torch.diag_embed(p) - p[:, :, None] * p[:, None])) / len(x)
    values, vectors = torch.linalg.eigh(gram)
    root = vectors * values.clamp_min(0).sqrt()
    flat = nn.functional.one_hot(y, outputs.shape[1]).float().flatten()
    return {
        "linearization_gap": float((outputs - f0 - linear).norm() / (outputs - f0).norm()),
        "kernel_change": float((kernel - k0).norm() / k0.norm()),
        "kernel_distance": float(1 - (kernel * k0).sum() / (kernel.norm() * k0.norm())),
        "alignment": float(flat @ gram @ flat / (gram.norm() * flat.square().sum())),
        "effective_rank": float(gram.trace() ** 2 / gram.square().sum()),
        "kappa_max": float(torch.linalg.eigvalsh(root.T @ s @ root)[-1]),
    }


def kernel_by_hand(one: Callable[..., Tensor], params: dict[str, Tensor], x: Tensor) -> Tensor:
    jacobian = vmap(jacrev(one), (None, 0))(params, x)
    return torch.stack([torch.einsum("iap,jbp->ijab", j.flatten(2), j.flatten(2)) for j in jacobian.values()]).sum(
        0
    )


def compare(name: str, build: Callable[[], tuple[nn.Module, Tensor]], repeat: int) -> None:
    torch.manual_seed(0)
    model, x = build()
    y = torch.randint(0, 10, (len(x),))
    start = {key: p.detach().clone() for key, p in model.named_parameters()}
    k0 = kernel_by_hand(lambda p, xi: functional_call(model, p, (xi[None],))[0], start, x)
    monitors = {"whole": ng.Monitor(model, x, y, loss=LOSS, budget=None, outputs=10)}
    if len(x) * 10 > 256:
        monitors["sampled"] = ng.Monitor(model, x, y, loss=LOSS, budget=None)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    times: dict[str, list[float]] = {"hand": []} | {key: [] for key in monitors}
    off = 0.0
    for step in range(1, repeat + 1):
        optimizer.zero_grad()
        LOSS(model(x), y).backward()
        optimizer.step()
        begun = time.perf_counter()
        expected = by_hand(start, k0, model, x, y)
        times["hand"].append(time.perf_counter() - begun)
        for key, monitor in monitors.items():
            begun = time.perf_counter()
            found = monitor.observe(step)
            times[key].append(time.perf_counter() - begun)
            if key == "whole":
                off = max(off, *(abs(found[q] / value - 1) for q, value in expected.items()))
    hand = statistics.median(times["hand"])
    for key in monitors:
        ours = statistics.median(times[key])
        print(
            f"| {name}, {key} | {ours:.3f} | {hand:.3f} | {hand / ours:.1f} | {off if key == 'whole' else 0:.0e} |"
        )


def overhead(steps: int, k: int) -> None:
    torch.manual_seed(0)
    model, probe = wide_resnet()
    probe, y = probe[:k], torch.randint(0, 10, (k,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    monitor = ng.Monitor(model, probe, y, loss=LOSS, optimizer=optimizer)
    with monitor.watching(steps, observations=8):
        for _ in range(steps):
            x, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
            optimizer.zero_grad()
            LOSS(model(x), labels).backward()
            optimizer.step()
    print(monitor, f"construction {monitor.construction_seconds:.1f} s")
    print(monitor.to_pandas().to_string())
    print(*monitor.notes, sep="\n")
    costs = {part: round(seconds, 2) for part, seconds in monitor._budget.costs.items()}
    print(f"seconds: a step {monitor._budget.training / steps:.2f}, parts {costs}")


def memory(network: str) -> None:
    torch.manual_seed(0)
    if network == "mlp":
        model, x = ng.MLP(784, 10, width=2000, depth=3, parametrization="standard"), torch.randn(32, 784)
    else:  # WideResNet-16-8
        model = ng.WideResNet(3, 10, width=128, depth=2, parametrization="standard", normalization="group")
        x = torch.randn(32, 3, 32, 32)
    y = torch.randint(0, 10, (32,))
    torch.nn.functional.cross_entropy(model(x[:2]), y[:2]).backward()
    before = resident_peak()
    monitor = ng.Monitor(model, x, y, loss=LOSS, budget=None)
    built = resident_peak()
    with torch.no_grad():
        for p in model.parameters():
            p += 1e-3 * torch.randn_like(p)
    begun = time.perf_counter()
    monitor.observe(1)
    parameters = sum(p.numel() for p in model.parameters())
    seconds = time.perf_counter() - begun
    print(
        f"{network}, {parameters / 1e6:.1f}·10⁶ parameters, probe 32: resident memory grew by "
        f"{built - before:.0f} MB at construction, {resident_peak() - before:.0f} MB in all; look {seconds:.0f} s"
    )


def resident_peak() -> float:
    """In MB."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def hand_table(repeat: int) -> None:
    print("| network | ours s | by hand s | ratio | rel. difference |\n|---|---|---|---|---|")
    compare("MLP 784-512x3-10, n=25", mlp, repeat)
    compare("WideResNet-16-2, n=32", wide_resnet, repeat)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="some of overhead, by_hand, memory; all by default")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--probe", type=int, default=32)
    parser.add_argument("--network", choices=["mlp", "wide_resnet"], default="mlp", help="for memory")
    given = parser.parse_args()
    parts = {
        "overhead": lambda: overhead(given.steps, given.probe),
        "by_hand": lambda: hand_table(given.repeat),
        "memory": lambda: memory(given.network),
    }
    for part in given.parts or parts:
        if len(given.parts) == 1:
            parts[part]()
        else:
            subprocess.run([sys.executable, __file__, part], check=True)


if __name__ == "__main__":
    main()
