"""Ensembles of finite networks, trained together: one vectorized step moves all members where it can."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset, dataset_of
from ntkgap.data.dataset import tensor_of
from ntkgap.errors import StudyError
from ntkgap.one_line import one_line
from ntkgap.practice.checks import check_count, check_seeds, check_steps
from ntkgap.practice.training.batches import Minibatches
from ntkgap.practice.training.loop import batch_size_of
from ntkgap.practice.training.losses import choose_loss
from ntkgap.practice.training.members import Members
from ntkgap.practice.training.own_fit import Fit, refuse_beside_fit
from ntkgap.practice.training.updates import Rule


@dataclass(frozen=True)
class TrainedEnsemble:
    """What the members of an ensemble said at some steps of their training.

    Attributes:
        steps: the steps, T of them.
        outputs: on the inputs that were asked for, [M, T, k, C].
        losses: over the training set, ½‖f − y‖² if not told otherwise, each member with its own targets, [M, T].
    """

    steps: tuple[int, ...]
    outputs: Tensor
    losses: Tensor

    __repr__ = one_line


def train_ensemble(
    build_member: Callable[[int], nn.Module],
    data: Any,
    members: int,
    *,
    learning_rate: float | None = None,
    steps: int | None = None,
    inputs: Tensor,
    observe_at: Sequence[int] | None = None,
    targets: Tensor | None = None,
    anchoring: float = 0.0,
    together: int | None = None,
    optimizer: Any = "gd",
    momentum: float = 0.9,
    batch_size: int | None = None,
    loss: Any = "squared",
    schedule: Callable[[Any], Any] | None = None,
    weight_decay: float = 0.0,
    clip: float | None = None,
    keep_last: bool = True,
    seeds: Sequence[int] | None = None,
    fit: Fit | None = None,
) -> TrainedEnsemble:
    r"""Train M networks, each from its own start; same numbers as one by one.

    With the settings that are not given, full-batch gradient descent, member i minimizes

    .. math:: \tfrac12 \lVert f(X; \theta) - y_i \rVert^2 + \tfrac{\lambda}{2} \lVert \theta - \theta_i \rVert^2

    with θ_i its initial parameters. As they are, ``targets`` and ``anchoring`` give a deep ensemble; with
    targets y + ε_i, ε_i ~ N(0, σ²), and λ = σ² members are samples of the randomized-prior ensemble
    (He, Lakshminarayanan, Teh 2020; in NTK parametrization).

    One vectorized call trains all members where that is possible; networks that batch statistics or masks make
    different in training, and optimizers of one's own, go one by one.

    Args:
        build_member: makes member i = 0 … M − 1; all of one architecture, with random numbers of their own.
        data: training set that all members share, as for ``train``.
        members: M.
        learning_rate: η, as for ``train``.
        steps: number of updates.
        inputs: where the members are asked for their outputs, [k, ...], in evaluation mode.
        observe_at: the steps at which they are asked, ascending; the last one alone if not given.
        targets: y_i of every member, [M, n, C]; ``data.y`` for all if not given.
        anchoring: λ, at least 0.
        together: how many members are trained at once, to bound the memory; all if not given.
        optimizer: as for ``train``; no L-BFGS.
        momentum: as for ``train``.
        batch_size: as for ``train``.
        loss: as for ``train``.
        schedule: as for ``train``.
        weight_decay: as for ``train``.
        clip: as for ``train``, of every member's own gradient.
        keep_last: as for ``train``.
        seeds: of the order of examples and the masks of every member; 0, 1, … if not given.
        fit: as for ``train``, called for every member with its seed; counts as one step.

    Returns:
        Outputs and losses at the asked steps, in the type of the members' parameters.

    Raises:
        StudyError: if a number is out of range or a shape does not fit, and as ``train`` does.
        DivergenceError: if a member's outputs cease to be finite; a ``StudyError``.
        ModelError: if the members differ in architecture, and as ``train`` does.

    Example:
        >>> x = torch.linspace(-1, 1, 10)[:, None]
        >>> build = lambda member: ng.MLP(1, 1, 16, 1, generator=torch.Generator().manual_seed(member))
        >>> settings = {"learning_rate": 0.05, "steps": 10, "inputs": x, "observe_at": [0, 10]}
        >>> found = ng.train_ensemble(build, (x, x**2), 3, **settings)
        >>> found.outputs.shape  # [members, times, inputs, C]
        torch.Size([3, 2, 10, 1])
    """
    data, inputs = dataset_of(data), tensor_of("inputs", inputs)
    check_count("members", members)
    if not 0 <= anchoring < float("inf"):
        raise StudyError(f"anchoring must be finite and at least 0, got {anchoring!r}")
    if together is not None and together < 1:
        raise StudyError(f"together must be at least 1, got {together!r}")
    if fit is None:
        last = check_steps(steps)
        rule = Rule(optimizer, learning_rate, momentum, weight_decay, schedule, clip)
        size = batch_size_of(batch_size, len(data), optimizer)
    else:
        last = 1
        given = {"steps": steps, "learning_rate": learning_rate, "anchoring": anchoring, "clip": clip}
        refuse_beside_fit(**given, batch_size=batch_size, schedule=schedule, weight_decay=weight_decay)
    asked = (last,) if observe_at is None else tuple(observe_at)
    if not asked or list(asked) != sorted(set(asked)) or asked[0] < 0 or asked[-1] > last:
        raise StudyError(f"observe_at must be ascending steps between 0 and {last}, got {asked}")
    shape = (members, *data.y.shape)
    if targets is not None and targets.shape != shape:
        raise StudyError(f"targets must have shape {shape}, one set a member, got {tuple(targets.shape)}")
    objective = choose_loss(loss, *([data] if targets is None else [Dataset(data.x, y) for y in targets]))
    everyone = data.y.expand(shape) if targets is None else targets
    numbers = check_seeds(range(members) if seeds is None else seeds, members)

    parts = []
    for first in range(0, members, together or members):
        chosen = slice(first, min(first + (together or members), members))
        networks = [build_member(i) for i in range(members)[chosen]]
        generators = [torch.Generator().manual_seed(seed) for seed in numbers[chosen]]
        part = Members(networks, first, data.x, everyone[chosen], objective, generators)
        if fit is None:
            part.descend(asked, inputs, rule, anchoring, lambda g: Minibatches(len(data), size, g, keep_last))
        else:
            part.be_fitted(asked, inputs, fit)
        parts += [(torch.stack([f for f, _ in part.seen], 1), torch.stack([e for _, e in part.seen], 1))]
    return TrainedEnsemble(asked, torch.cat([f for f, _ in parts]), torch.cat([e for _, e in parts]))
