"""Kernels of networks as people use them: ours against ``vmap(jacrev)``, in time, processor time and memory.

    python benchmarks/real_models.py                       # all
    python benchmarks/real_models.py ViT LSTM              # those whose name begins so
    python benchmarks/real_models.py --jax ENV/bin/python  # MLP and CNN by neural-tangents too (see jax_peer.py)

Ours and the peer take turns in one process; medians. The peer is the textbook's: all rows of the Jacobian by
``vmap(jacrev)`` and one product (for "sum" the gradient of Σ_a f_a / √C, for each example); where that fails, one
backward pass a row. "x of GEMM" is our time over the time that our FLOPs would take at the rate of one large
product. Peaks are the growth of resident memory over that of the same call on two examples, in a process of
their own. A call that is refused or fails is told in words.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from empirical_ntk import flops_of, gemm_rate, resident_peak
from networks import cnn
from real_networks import (
    GPT,
    Bert,
    Graph,
    LoRA,
    Positions,
    Recurrent,
    UNet,
    ViT,
    dense_outputs,
    mlp,
    pruned,
    resnet18,
    rms_mlp,
    weight_normed,
)
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.utils._pytree import tree_map

import ntkgap as ng

Inputs = Tensor | dict[str, Tensor]


def documents(n: int, t: int = 32) -> dict[str, Tensor]:
    """Ids with padding at the end, as a tokenizer makes them."""
    mask = (torch.arange(t) < torch.randint(t // 2, t + 1, (n, 1))).long()
    ids = torch.randint(2000, (n, t)) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Inputs], str]] = {
    "MLP 784-512x3-10, n=64": (mlp, lambda: torch.randn(64, 784), "full"),
    "CNN 64-128-256, n=64": (cnn, lambda: torch.randn(64, 3, 32, 32), "full"),
    "WideResNet-10, n=16": (lambda: ng.WideResNet(3, 10, 32, 1), lambda: torch.randn(16, 3, 32, 32), "full"),
    "ResNet-18, n=8": (resnet18, lambda: torch.randn(8, 3, 32, 32), "full"),
    "U-Net, 1600 outputs, n=3": (UNet, lambda: torch.randn(3, 1, 40, 40), "full"),
    "dense outputs, shared bias, n=2": (dense_outputs, lambda: torch.randn(2, 1, 40, 40), "full"),
    "ViT d=128, 4 layers, n=16": (ViT, lambda: torch.randn(16, 3, 32, 32), "full"),
    "BERT d=128, 2 layers, T=32, n=16": (Bert, lambda: documents(16), "full"),
    "GPT d=64, 1000 words, T=16, n=2": (GPT, lambda: torch.randint(1000, (2, 16)), "full"),
    "words + positions, n=8, sum": (Positions, lambda: torch.randint(300, (8, 32)), "sum"),
    "LSTM d=64, T=20, n=16": (Recurrent, lambda: torch.randint(500, (16, 20)), "full"),
    "graph network, n=16": (Graph, lambda: torch.randn(16, 30, 16), "full"),
    "RMSNorm MLP, n=64": (rms_mlp, lambda: torch.randn(64, 64), "full"),
    "pruned MLP, n=32": (lambda: mlp(pruned), lambda: torch.randn(32, 784), "full"),
    "weight_norm MLP, n=32": (lambda: mlp(weight_normed), lambda: torch.randn(32, 784), "full"),
    "LoRA MLP, n=32": (lambda: mlp(LoRA), lambda: torch.randn(32, 784), "full"),
}
JAX = {"MLP 784-512x3-10, n=64": "mlp", "CNN 64-128-256, n=64": "cnn"}
PEERS = ("ours", "vmap(jacrev)", "row by row")


def built(name: str) -> tuple[nn.Module, Inputs, str]:
    torch.manual_seed(0)
    model, inputs, outputs = CASES[name]
    return model(), inputs(), outputs


def first(inputs: Inputs, n: int) -> Inputs:
    return tree_map(lambda t: t[:n], inputs)


def returned(model: nn.Module, params: dict[str, Tensor], one: Inputs) -> Tensor:
    """The outputs of one example, [C]."""
    batch = tree_map(lambda t: t[None], one)
    args, kwargs = ((), batch) if isinstance(batch, dict) else ((batch,), {})
    return functional_call(model, params, args, kwargs)[0]


def trained(model: nn.Module) -> dict[str, Tensor]:
    return {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}


def ours(model: nn.Module, inputs: Inputs, outputs: str) -> Tensor:
    return ng.empirical_ntk(model, inputs, outputs=outputs)


def by_jacrev(model: nn.Module, inputs: Inputs, outputs: str) -> Tensor:
    def f(params: dict[str, Tensor], one: Inputs) -> Tensor:
        out = returned(model, params, one)
        return out.sum(0, keepdim=True) / len(out) ** 0.5 if outputs == "sum" else out

    blocks = vmap(jacrev(f), (None, 0))(trained(model), inputs)
    return grams([b.flatten(2) for b in blocks.values()], outputs)


def row_by_row(model: nn.Module, inputs: Inputs, outputs: str) -> Tensor:
    params = {k: p.requires_grad_() for k, p in trained(model).items()}
    rows: list[list[tuple[Tensor, ...]]] = []
    for i in range(count(inputs)):
        out = returned(model, params, tree_map(lambda t, i=i: t[i], inputs))
        out = out.sum(0, keepdim=True) / len(out) ** 0.5 if outputs == "sum" else out
        rows.append([torch.autograd.grad(entry, list(params.values()), retain_graph=True) for entry in out])
    blocks = [torch.stack([torch.stack([g[k].flatten() for g in r]) for r in rows]) for k in range(len(params))]
    return grams(blocks, outputs)


RUNS = dict(zip(PEERS, (ours, by_jacrev, row_by_row), strict=True))


def grams(blocks: list[Tensor], outputs: str) -> Tensor:
    """Products of the rows [n, C, p] of each parameter, added up."""
    full = sum(torch.einsum("iap,jbp->ijab", b, b) for b in blocks)
    return full[:, :, 0, 0] if outputs == "sum" else full


def count(inputs: Inputs) -> int:
    return len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)


def measured(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(runs: list[Callable[[], object]], first: float, most: int) -> list[tuple[float, float]]:
    """Medians of runs that take turns, fewer where a turn, which first took so many seconds, is long."""
    times: list[list[tuple[float, float]]] = [[] for _ in runs]
    for _ in range(max(2, min(most, int(10 / first)))):
        for run, into in zip(runs, times, strict=True):
            into.append(measured(run))
            if into[-1][0] < 1:  # short runs more often: the first after another's pays for its caches
                into += [measured(run) for _ in range(4)]
    return [(statistics.median(w for w, _ in t), statistics.median(c for _, c in t)) for t in times]


def attempt(run: Callable[[], Tensor]) -> Tensor | str:
    """What comes out, or what went wrong in a few words."""
    try:
        return run()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"


def peak(name: str, which: str) -> str:
    """In a process of its own, MB."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", name, which], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else "–"


def print_peak(name: str, which: str) -> None:
    model, inputs, outputs = built(name)
    RUNS[which](model, first(inputs, 2), outputs)
    before = resident_peak()
    RUNS[which](model, inputs, outputs)
    print(f"{resident_peak() - before:.0f}")


def jax_seconds(python: str, name: str) -> str:
    """By neural-tangents, in its own environment: seconds, and which of its methods was fastest."""
    script = Path(__file__).with_name("jax_peer.py")
    done = subprocess.run([python, str(script), JAX[name]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return "failed"
    best = json.loads(done.stdout.splitlines()[-1])
    return f"{best['seconds']:.3f} (cpu {best['cpu']:.3f}, {best['method']})"


def row(name: str, arguments: argparse.Namespace) -> list[str]:
    model, inputs, outputs = built(name)

    def call(which: str) -> Callable[[], Tensor]:
        return lambda: RUNS[which](model, inputs, outputs)

    start = time.perf_counter()
    found = attempt(call("ours"))
    which = PEERS[1]
    exact = attempt(call(which))
    if isinstance(exact, str):
        which = PEERS[2]
        exact = attempt(call(which))
    able = [w for w, result in (("ours", found), (which, exact)) if isinstance(result, Tensor)]
    times = in_turns([call(w) for w in able], time.perf_counter() - start, arguments.repeat)
    cells = [name, *["–"] * 11]
    if isinstance(exact, Tensor):
        wall, cpu = times[-1]
        cells[6:9] = [f"{wall:.3f}", f"{cpu:.3f}", which]
        if not arguments.no_memory:
            cells[10] = peak(name, which)
    if isinstance(found, str):
        cells[1] = found
        return cells
    (seconds, processor), flops = times[0], flops_of(call("ours"))
    cells[1:5] = [
        f"{seconds:.3f}",
        f"{processor:.3f}",
        f"{flops / 1e9:.1f}",
        f"{seconds * gemm_rate() / flops:.1f}",
    ]
    if isinstance(exact, Tensor):
        cells[5] = f"**{cpu / processor:.2f}** ({wall / seconds:.2f})"
        cells[11] = f"{float((found - exact).abs().max() / exact.abs().max()):.0e}"
    if not arguments.no_memory:
        cells[9] = peak(name, "ours")
    return cells


def main() -> None:
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of names; all by default")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, help="on a machine that others use, 1 makes processor time fair")
    parser.add_argument("--no-memory", action="store_true", help="do not measure peaks")
    parser.add_argument("--jax", metavar="PYTHON", help="of an environment with jax and neural-tangents")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(*arguments.peak)
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    chosen = [
        k for k in CASES if not arguments.names or k.lower().startswith(tuple(a.lower() for a in arguments.names))
    ]
    head = [
        "network", "ours s", "cpu s", "GFLOP", "x of GEMM", "ratio by cpu (by clock)", "peer s", "cpu s", "peer",
        "peak MB ours", "peer", "difference",
    ]  # fmt: skip
    head += ["neural-tangents s"] if arguments.jax else []
    print(f"\nfloat32, {torch.get_num_threads()} threads, one product at {gemm_rate() / 1e9:.0f} GFLOP/s\n")
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|", flush=True)
    for name in chosen:
        cells = row(name, arguments)
        if arguments.jax:
            cells.append(jax_seconds(arguments.jax, name) if name in JAX else "–")
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
