"""What infinite width forgets of rotated MNIST, at four training times.

Task t shows digits turned by 22.5°·t. Per seed s the t10k images are put in the order of
``numpy.random.default_rng(s).permutation(10000)``: task t learns images 500t … 500t + 499, all tasks are tested on
images 2500 … 3499. Pixels are divided by 255, turned counter-clockwise (bilinear, same size), and scaled to unit
norm; targets are one-hot and f_0 = 0. ReLU networks of infinite width, σ_w² = 2 and no bias, learn by gradient
descent on ½‖f − y‖² with η = 1/κ_max of the task's Gram matrix, for 1, 10, 100 steps a task, and without end.

Run: ``python benchmarks/rotated_mnist_reference.py`` (needs ``$NTKGAP_DATA`` with MNIST; half a minute).
"""

import argparse

import numpy as np
import torch

import ntkgap as ng
from ntkgap.data.files import find_files
from ntkgap.data.idx import read_idx
from ntkgap.data.images import IMAGES
from ntkgap.data.streams import rotate
from ntkgap.errors import DataError
from ntkgap.theory import KernelModes, SequentialRegression

TASKS, LEARNED, STEPS = 5, 500, (1, 10, 100)
TESTED = slice(2500, 3500)

# The best score a task ever had, the last one included: never negative.
CONVENTION = "max_with_last_minus_last"


def tasks(seed: int) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[tuple[torch.Tensor, torch.Tensor]]]:
    """Inputs and labels of every task, for training and for testing."""
    files = find_files(IMAGES["mnist"], None)
    pixels = torch.as_tensor(read_idx(files[2], 3).astype(float) / 255)[:, None]
    labels = torch.as_tensor(read_idx(files[3], 1).astype(int))
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(labels)))

    def turned(places: slice, t: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = rotate(pixels[order[places]], 22.5 * t).flatten(1)
        return x / x.norm(dim=1, keepdim=True), labels[order[places]]

    train = [turned(slice(LEARNED * t, LEARNED * (t + 1)), t) for t in range(TASKS)]
    return train, [turned(TESTED, t) for t in range(TASKS)]


def predicted(seed: int, depth: int) -> torch.Tensor:
    """R for each number of steps and without end, [4, T, T]."""
    train, test = tasks(seed)
    learned, tested = (torch.cat([x for x, _ in parts]) for parts in (train, test))
    network = ng.MLP(learned.shape[1], 10, width=8, depth=depth, weight_std=2**0.5).double()
    limit = ng.infinite_width(network)
    kernel = torch.cat([limit.ntk(learned), limit.ntk(tested, learned)])  # K(points, X), [k, N]
    regression = SequentialRegression(torch.zeros(len(STEPS) + 1, len(kernel), 10, dtype=torch.float64))
    rows = []
    for t, (_, labels) in enumerate(train):
        at = torch.arange(LEARNED * t, LEARNED * (t + 1))

        def decay(modes: KernelModes) -> torch.Tensor:
            rate = 1 / float(modes.eigenvalues[-1])
            stopped = modes.gradient_descent_decay(rate, torch.tensor(STEPS))
            return torch.cat([stopped, modes.converged_decay()[None]])

        targets = torch.nn.functional.one_hot(labels, 10).double()
        regression.learn(kernel[:, at], at, targets, decay=decay)
        answers = regression.function[:, LEARNED * TASKS :].argmax(dim=-1).unflatten(1, (TASKS, -1))
        truth = torch.stack([labels for _, labels in test])
        rows.append((answers == truth).double().mean(dim=-1))
    return torch.stack(rows, dim=1)


def main() -> None:
    """Print average accuracy, forgetting and learning accuracy, mean over seeds with their standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    try:
        find_files(IMAGES["mnist"], None)
    except DataError as error:
        print(f"left out: {error}")
        return
    print("| hidden layers | steps a task | average accuracy | forgetting | learning accuracy |")
    print("|---|---|---|---|---|")
    for depth in arguments.depths:
        matrices = torch.stack([predicted(seed, depth) for seed in range(arguments.seeds)])
        for i, steps in enumerate((*map(str, STEPS), "∞")):
            found = [ng.continual.AccuracyMatrix(scores) for scores in matrices[:, i]]
            numbers = [
                [100 * m.average_accuracy for m in found],
                [100 * m.forgetting(CONVENTION) for m in found],
                [100 * m.learning_accuracy for m in found],
            ]
            cells = (f"{np.mean(v):.1f} ± {np.std(v, ddof=1) / len(v) ** 0.5:.1f}" for v in numbers)
            print(f"| {depth} | {steps} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
