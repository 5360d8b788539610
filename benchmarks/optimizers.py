"""Seconds a step of every optimizer, against plain gradient descent on the same network in the same run.

    python benchmarks/optimizers.py

One thread, as the workers of a sweep have. Full batches; SGD and Adam also with minibatches of 32. Methods take
turns, medians over rounds are compared. The first update of each run is left out: natural gradients look into the
network's layers there.
"""

import argparse
import copy
import statistics
from collections.abc import Callable

import torch
from torch import nn

import ntkgap as ng
from ntkgap.data import Dataset
from ntkgap.practice import TrainingCurve, kfac_descent, natural_gradient_descent, train

Method = Callable[[nn.Module, Dataset, int], TrainingCurve]

METHODS: dict[str, Method] = {
    "GD": lambda m, d, k: train(m, d, learning_rate=1e-3, steps=k),
    "SGD, momentum": lambda m, d, k: train(m, d, learning_rate=1e-4, steps=k, optimizer="sgd"),
    "Adam": lambda m, d, k: train(m, d, learning_rate=1e-4, steps=k, optimizer="adam"),
    "SGD, batch 32": lambda m, d, k: train(m, d, learning_rate=1e-4, steps=k, optimizer="sgd", batch_size=32),
    "Adam, batch 32": lambda m, d, k: train(m, d, learning_rate=1e-4, steps=k, optimizer="adam", batch_size=32),
    "NGD, Gram matrix": lambda m, d, k: natural_gradient_descent(m, d, learning_rate=0.1, steps=k, damping=1.0),
    "NGD, conjugate gradients": lambda m, d, k: natural_gradient_descent(
        m, d, learning_rate=0.1, steps=k, damping=1.0, solver="conjugate_gradients"
    ),
    "K-FAC": lambda m, d, k: kfac_descent(m, d, learning_rate=0.1, steps=k, damping=1.0),
}


def problems(n: int) -> dict[str, tuple[nn.Module, Dataset]]:
    data, _ = ng.load_data("digits", n, 10)
    images = Dataset(data.x.view(-1, 1, 8, 8), data.y, data.n_classes)
    draw = torch.Generator().manual_seed(0)
    return {
        f"MLP 64-256-256-10, n={n}": (ng.MLP(64, 10, 256, 2, generator=draw), data),
        f"ConvNet 1-16-16-10 on 8×8 pixels, n={n}": (
            ng.ConvNet(1, 10, 16, 2, image_size=8, pooling="flatten", generator=draw),
            images,
        ),
    }


def seconds_a_step(method: Method, network: nn.Module, data: Dataset, steps: int) -> float:
    curve = method(copy.deepcopy(network), data, steps + 1)
    if curve.stopped:
        raise RuntimeError(f"nothing to time: {curve.stopped}")
    return statistics.median(b - a for a, b in zip(curve.seconds[1:], curve.seconds[2:], strict=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"float32, {torch.get_num_threads()} thread")
    for name, (network, data) in problems(arguments.examples).items():
        times: dict[str, list[float]] = {method: [] for method in METHODS}
        for _ in range(arguments.rounds):
            for method, run in METHODS.items():
                times[method].append(seconds_a_step(run, network, data, arguments.steps))
        unit = statistics.median(times["GD"])
        print(f"\n{name}\n\n| method | seconds a step | ratio to GD |\n|---|---|---|")
        for method, measured in times.items():
            median = statistics.median(measured)
            print(f"| {method} | {median:.5f} | {median / unit:.1f} |", flush=True)


if __name__ == "__main__":
    main()
