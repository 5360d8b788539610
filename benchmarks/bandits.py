"""NeuralUCB with the full design matrix: cost a round against the number of rounds, and against P × P matrices.

    python benchmarks/bandits.py [--rounds 5000] [--width 1024] [--threads 2]

Five arms, contexts of the wheel (two numbers, disjoint encoding: ten inputs), three hidden layers. The network is
never trained; what is timed is the work of the posterior: the gradients of all arms, their products with those
seen, the triangular solve, the new row. "Processor" seconds are of all threads together; on a shared machine they
say more than those of the wall clock.

The alternative is Z⁻¹ itself, P × P numbers, updated by the Sherman–Morrison formula: its cost a round does not
depend on the round. It is timed at widths where it fits, and its drift is measured where it runs in float32.
"""

import argparse
import resource
import time

import torch
from torch import Tensor

import ntkgap as ng
from ntkgap.models import MLP
from ntkgap.practice.bandits.design import FullDesign
from ntkgap.practice.bandits.gradient_source import GradientSource

ARMS, REPORTED = 5, 10


def inputs_of(round_: int, generator: torch.Generator) -> Tensor:
    """A point of the unit disc, once for every arm."""
    while True:
        x = 2 * torch.rand(2, generator=generator) - 1
        if x.square().sum() <= 1:
            return torch.kron(torch.eye(ARMS), x[None])


def network(width: int) -> MLP:
    return MLP(2 * ARMS, 1, width, 3, generator=torch.Generator().manual_seed(0))


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def full_design(width: int, rounds: int) -> None:
    model = network(width)
    parameters = sum(p.numel() for p in model.parameters())
    source, design, draw = GradientSource(model), FullDesign(1.0), torch.Generator().manual_seed(1)
    print(f"width {width}, P = {parameters:,}: Z would take {8 * parameters**2 / 1e12:.2f} TB in float64")
    print(f"{'rounds':>12} {'ms a round':>11} {'gradients':>10} {'posterior':>10}   (medians)")
    taken, before, started = [], peak_megabytes(), (time.perf_counter(), time.process_time())
    for t in range(rounds):
        inputs = inputs_of(t, draw)
        a = time.perf_counter()
        _, gradients = source(inputs)
        b = time.perf_counter()
        width_ = design.squared_width(gradients)
        design.take(gradients, int(width_.argmax()))
        taken.append((time.perf_counter() - a, b - a))
        if (t + 1) % (rounds // REPORTED) == 0:
            last = torch.tensor(taken[-(rounds // REPORTED) :]).median(dim=0).values * 1e3
            span = f"{t + 1 - rounds // REPORTED}–{t + 1}"
            print(f"{span:>12} {last[0]:11.2f} {last[1]:10.2f} {last[0] - last[1]:10.2f}", flush=True)
    wall, processor = time.perf_counter() - started[0], time.process_time() - started[1]
    print(
        f"{rounds} rounds: {wall:.0f} s of the clock, {processor:.0f} s of the processor; aim ≤ 240 s of two cores"
    )
    print(f"peak {peak_megabytes():.0f} MB, {peak_megabytes() - before:.0f} MB above the start; aim ≤ 3000 MB")


def sherman_morrison(width: int, rounds: int, dtype: torch.dtype, rate: float) -> tuple[float, float, int]:
    """Seconds a round of P × P matrices, how far off its widths are at the end (relative), and P."""
    model, draw = network(width), torch.Generator().manual_seed(1)
    source, design = GradientSource(model), FullDesign(rate)
    parameters = sum(p.numel() for p in model.parameters())
    inverse = torch.eye(parameters, dtype=dtype) / rate
    taken = 0.0
    for t in range(rounds):
        _, gradients = source(inputs_of(t, draw))
        rows = torch.cat([(u[:, :, None] * v[:, None]).flatten(1) for u, v in gradients.blocks.values()], 1).to(
            dtype
        )
        exact = design.squared_width(gradients)
        arm = int(exact.argmax())
        design.take(gradients, arm)
        start = time.perf_counter()
        solved = rows @ inverse
        found = (solved * rows).sum(1)
        inverse.addr_(solved[arm], solved[arm], alpha=-1 / float(1 + found[arm]))
        taken += time.perf_counter() - start
    return taken / rounds, float(((found.double() - exact) / exact).abs().max()), parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"ntkgap {ng.__version__}, torch {torch.__version__}, {args.threads} threads")
    full_design(args.width, args.rounds)
    print("\nSherman–Morrison, P × P")
    header = f"{'width':>6} {'P':>6} {'type':>8} {'λ':>7} {'ms a round':>11} {'GB':>6} {'rounds':>7}"
    print(f"{header} {'error of widths':>16}")
    single, double = torch.float32, torch.float64
    rows = [(16, double, 1.0, 3000), (16, single, 1.0, 3000), (16, single, 1e-3, 3000), (16, double, 1e-3, 3000)]
    for width, dtype, rate, rounds in [*rows, (64, double, 1.0, 20)]:
        seconds, error, p = sherman_morrison(width, rounds, dtype, rate)
        size = torch.finfo(dtype).bits // 8 * p**2 / 1e9
        name = str(dtype).removeprefix("torch.")
        cost = f"{1e3 * seconds:11.2f} {size:6.3f}"
        print(f"{width:6} {p:6} {name:>8} {rate:7g} {cost} {rounds:7} {error:16.1e}", flush=True)


if __name__ == "__main__":
    main()
