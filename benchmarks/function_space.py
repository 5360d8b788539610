"""Training in function space beside training of the linearized model: the same outputs, in what time.

    python benchmarks/function_space.py

Two hundred full-batch steps of SGD with momentum on the cross-entropy of 200 digits with 10 classes: nC = 2000.
One thread, float64, rounds in turn, medians. The kernel is computed once for all trainings with it: apart.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

import ntkgap as ng

MOMENTUM = 0.9


def seconds(call: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def train_linearized(net: ng.MLP, x: torch.Tensor, y: torch.Tensor, rate: float, steps: int) -> torch.Tensor:
    linearized = ng.linearize(net)
    optimizer = torch.optim.SGD(linearized.parameters(), lr=rate, momentum=MOMENTUM)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(linearized(x), y, reduction="sum").backward()
        optimizer.step()
    return linearized(x).detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 512, 1024])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, _ = ng.load_data("digits", arguments.examples, 10)
    x, y, steps = data.x.double(), data.y.double(), arguments.steps
    print("| MLP, 3 hidden layers | kernel, once | function space | linearized | its time / ours | apart |")
    print("|---|---|---|---|---|---|")
    for width in arguments.widths:
        net = ng.MLP(64, 10, width, 3, generator=torch.Generator().manual_seed(0)).double()
        start = net(x).detach()
        kernel, gram = seconds(lambda net=net: ng.as_matrix(ng.empirical_ntk(net, x)))
        rate = 0.2 * ng.theory.critical_learning_rate(gram)
        settings = {"loss": "cross_entropy", "learning_rate": rate, "momentum": MOMENTUM, "steps": steps}
        ours, linearized_seconds = [], []
        for _ in range(arguments.rounds):
            spent, training = seconds(
                lambda g=gram, f=start, s=settings: ng.theory.train_in_function_space(g, f, y, **s).outputs[-1]
            )
            ours.append(spent)
            spent, trained = seconds(lambda net=net, rate=rate: train_linearized(net, x, y, rate, steps))
            linearized_seconds.append(spent)
        one, two = statistics.median(ours), statistics.median(linearized_seconds)
        apart = float((training - trained).abs().max())
        print(
            f"| width {width} | {kernel:.2f} s | {one:.2f} s | {two:.2f} s | {two / one:.1f} | {apart:.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
