"""Seeds trained together beside one after the other, and what each method against forgetting costs a step.

    python benchmarks/tasks.py

Rotated digits, one hidden layer, full-batch gradient descent; medians of three runs, one thread.
"""

import time

import torch

import ntkgap as ng
from ntkgap.practice.continual import Plain

SEEDS, STEPS = 8, 50
METHODS = {
    "plain": Plain(),
    "replay, 10 a task": ng.continual.Replay(10),
    "EWC": ng.continual.EWC(1.0),
    "OGD, labels": ng.continual.OGD(directions="label"),
    "OGD, all outputs": ng.continual.OGD(),
    "PCA-OGD, 20 a task": ng.continual.PCAOGD(components=20),
}


def seconds(call) -> float:
    """Median of three runs."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[1]


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    streams = [
        ng.continual.load_stream(
            "rotated", n_train=40, n_test=20, seed=s, tasks=3, scaling="unit_norm", flatten=True
        )
        for s in range(SEEDS)
    ]

    def networks(width: int) -> list[ng.MLP]:
        return [ng.MLP(64, 10, width, 1, generator=torch.Generator().manual_seed(s)) for s in range(SEEDS)]

    def train(nets: list[ng.MLP], chosen: list, **settings: object) -> None:
        ng.continual.train_tasks(nets, chosen, learning_rate=0.01, stop=ng.continual.Steps(STEPS), **settings)

    print(f"| width | {SEEDS} seeds one by one, s | together, s | ratio |\n|---|---|---|---|")
    for width in (16, 64, 256, 1024):
        nets = networks(width)

        def alone(nets: list[ng.MLP] = nets) -> None:
            for net, stream in zip(nets, streams, strict=True):
                train([net], [stream])

        one, all_at_once = seconds(alone), seconds(lambda nets=nets: train(nets, streams))
        print(f"| {width} | {one:.2f} | {all_at_once:.2f} | {one / all_at_once:.1f} |", flush=True)

    print("\n| method, width 256, one seed | ms a step | of plain |\n|---|---|---|")
    plain = 0.0
    for name, method in METHODS.items():
        each = seconds(lambda method=method: train(networks(256)[:1], streams[:1], method=method)) / (3 * STEPS)
        plain = plain or each
        print(f"| {name} | {1e3 * each:.2f} | {each / plain:.1f} |", flush=True)


if __name__ == "__main__":
    main()
