"""Regressions on the sphere whose targets drift away from each other at a chosen pace."""

import math

import numpy as np
import torch
from torch import Tensor

from ntkgap.data.dataset import Dataset
from ntkgap.data.streams.pool import check_count, check_number
from ntkgap.data.streams.stream import Task, TaskStream
from ntkgap.errors import DataError

HIDDEN = 64


def teachers(
    data: str = "sphere",
    n_train: int = 100,
    n_test: int = 100,
    seed: int = 0,
    *,
    tasks: int = 5,
    similarity: float = 0.5,
    dim: int = 10,
    noise: float = 0.0,
    same_inputs: bool = False,
) -> TaskStream:
    r"""Task t is to learn :math:`y = a_t^\top \tanh(W x) / \sqrt h` on inputs of the unit sphere.

    All teachers share their h random features; the readouts, a_{t+1} = ρ a_t + √(1 − ρ²) ξ with standard normal
    a_1 and ξ, make two functions in a row have the correlation ρ, and the t-th and the s-th ρ^|t−s|.

    Args:
        data: ``"sphere"``, the only one.
        n_train: training inputs a task.
        n_test: test inputs a task.
        seed: of all draws.
        tasks: T.
        similarity: ρ from −1 to 1; 1 makes all tasks alike.
        dim: of the inputs.
        noise: standard deviation of what is added to the training targets.
        same_inputs: whether all tasks have the same inputs; else each has its own.

    Raises:
        DataError: if a number is out of range.
    """
    if data != "sphere":
        raise DataError(f"teachers draw their inputs on the 'sphere'; got {data!r}")
    for name, value, least in (
        ("tasks", tasks, 2),
        ("n_train", n_train, 1),
        ("n_test", n_test, 2),
        ("dim", dim, 2),
    ):
        check_count(name, value, least)
    check_number("similarity", similarity, -1, 1, "the correlation of two tasks in a row")
    check_number("noise", noise, 0, 1e6, "the standard deviation of the noise")
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((dim, HIDDEN)) * math.sqrt(3.0)
    readout = rng.standard_normal(HIDDEN)
    found: list[Task] = []
    for t in range(tasks):
        if t:
            readout = similarity * readout + math.sqrt(1 - similarity**2) * rng.standard_normal(HIDDEN)
        sets: list[Dataset] = []
        for n, error in ((n_train, noise), (n_test, 0.0)):
            x = rng.standard_normal((n, dim))
            x /= np.linalg.norm(x, axis=1, keepdims=True)
            if found and same_inputs:
                x = (found[0].train if n == n_train and not sets else found[0].test).x.double().numpy()
            y = np.tanh(x @ features) @ readout / math.sqrt(HIDDEN) + error * rng.standard_normal(n)
            sets.append(Dataset(_tensor(x), _tensor(y[:, None])))
        found.append(Task(f"teacher {t + 1}", sets[0], sets[1], (0,)))
    return TaskStream("teachers", tuple(found))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
