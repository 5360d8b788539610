"""The coordinate check: how the activations of each layer, and their change in training, scale with width."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor, nn

from ntkgap.data import dataset_of
from ntkgap.errors import StudyError
from ntkgap.one_line import one_line
from ntkgap.practice.training.loop import train
from ntkgap.practice.training.network_modes import evaluation_mode

OUTPUT = "output"


@dataclass(frozen=True)
class Exponent:
    """The power of the width that a size grows with.

    Attributes:
        value: slope of log size over log width, least squares, mean over seeds.
        low: lower end of the 95 % Student interval over seeds.
        high: upper end.
    """

    value: float
    low: float
    high: float

    __repr__ = one_line


@dataclass(frozen=True)
class CoordinateCheck:
    """Root mean squares over examples and units, by layer; see ``coordinate_check``.

    Layers go by their names in the model, the model's own output by ``"output"``.

    Attributes:
        widths: the widths, ascending.
        steps: after how many steps the change was taken.
        initial: size of the activations at initialization, [seeds, widths].
        change: size of their change, [seeds, widths]; infinite where training diverged.
    """

    widths: tuple[int, ...]
    steps: int
    initial: dict[str, np.ndarray]
    change: dict[str, np.ndarray]

    __repr__ = one_line

    @property
    def layers(self) -> list[str]:
        """Names of the layers, first to last, and ``"output"``."""
        return list(self.initial)

    def initial_exponent(self, layer: str) -> Exponent:
        """How the size at initialization grows with width; NaN if a size is 0 or not finite."""
        return fit_exponent(self.widths, self.initial[layer])

    def change_exponent(self, layer: str) -> Exponent:
        """How the change grows with width; NaN if one is 0 or not finite."""
        return fit_exponent(self.widths, self.change[layer])


def fit_exponent(widths: Sequence[int], sizes: np.ndarray) -> Exponent:
    """Slope of log size over log width for every seed, mean and 95 % Student interval over seeds.

    Args:
        widths: at least two different ones.
        sizes: [seeds, widths], at least two seeds.
    """
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        return Exponent(math.nan, math.nan, math.nan)
    slopes = np.polyfit(np.log(widths), np.log(sizes).T, 1)[0].tolist()
    value = statistics.fmean(slopes)
    half = float(scipy.stats.t.ppf(0.975, len(slopes) - 1)) * statistics.stdev(slopes) / math.sqrt(len(slopes))
    return Exponent(value, value - half, value + half)


def coordinate_check(
    build_model: Callable[[int], nn.Module],
    data: Any,
    widths: Sequence[int],
    *,
    steps: int,
    learning_rate: float | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    optimizer: Any = "gd",
    momentum: float = 0.9,
    batch_size: int | None = None,
    loss: Any = "squared",
    schedule: Callable[[Any], Any] | None = None,
    weight_decay: float = 0.0,
    clip: float | None = None,
    keep_last: bool = True,
) -> CoordinateCheck:
    r"""Measure how activations and their change after a few steps scale with the width.

    For every layer and output h the root mean squares of h₀ and of h_t − h₀ are taken over examples and
    units. Whatever explodes with the width ends by diverging, whatever vanishes is not learned: under gradient
    descent at a fixed learning rate the change of hidden layers goes like √m and worse in standard
    parametrization, like 1/√m in NTK parametrization, and is Θ(1) in mean-field parametrization and μP
    (Yang et al. 2022, section "coordinate check").

    Args:
        build_model: maps a width to a new network; draw its initial values from torch's global source of
            randomness, which is seeded here (and restored afterwards).
        data: training set, as for ``train``; the activations are those on its inputs, in evaluation mode.
        widths: at least two.
        steps: how many updates, at least 1; few, since the exponents are about the start of training.
        learning_rate: η of ``train``, the same at every width.
        seeds: at least two; of the initial values, the order of examples and the masks.
        optimizer: of ``train``, as all that follow.
        momentum: of ``train``.
        batch_size: of ``train``.
        loss: of ``train``.
        schedule: of ``train``.
        weight_decay: of ``train``.
        clip: of ``train``.
        keep_last: of ``train``.

    Returns:
        Sizes and exponents. Layers are all modules with weights of their own that are called
        (``nn.Linear``, convolutions), without the readout whose result is the model's output.

    Raises:
        StudyError: if there are too few widths, seeds or steps, a number is out of range, or the layers
            have different names at different widths. And as ``train`` does.

    Example:
        >>> train, _ = ng.load_data("digits", n_train=16, n_test=4)
        >>> build = lambda width: ng.MLP(64, 10, width, 2, parametrization="mup")
        >>> options = {"steps": 2, "learning_rate": 0.01, "seeds": (0, 1)}
        >>> found = ng.practice.coordinate_check(build, train, widths=[16, 32], **options)
        >>> len(found.layers)
        3
    """
    data = dataset_of(data)
    widths = sorted(set(widths))
    seeds = list(dict.fromkeys(seeds))
    if len(widths) < 2:
        raise StudyError(f"a power of the width needs at least two different widths, got {widths}")
    if len(seeds) < 2:
        raise StudyError(f"an interval over seeds needs at least two different ones, got {seeds}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise StudyError(f"steps must be an integer of at least 1, got {steps!r}")
    initial: dict[str, np.ndarray] = {}
    change: dict[str, np.ndarray] = {}
    for i, seed in enumerate(seeds):
        for j, width in enumerate(widths):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = build_model(width)
            before = activations(model, data.x)
            if not initial:
                initial |= {name: np.empty((len(seeds), len(widths))) for name in before}
                change |= {name: np.empty((len(seeds), len(widths))) for name in before}
            if before.keys() != initial.keys():
                raise StudyError(
                    f"build_model({width}) has the layers {', '.join(before)}, but build_model({widths[0]}) "
                    f"{', '.join(initial)}; layers can be compared over width only if they are the same"
                )
            curve = train(
                model,
                data,
                learning_rate=learning_rate,
                steps=steps,
                optimizer=optimizer,
                momentum=momentum,
                batch_size=batch_size,
                generator=torch.Generator().manual_seed(seed),
                loss=loss,
                schedule=schedule,
                weight_decay=weight_decay,
                clip=clip,
                keep_last=keep_last,
            )
            after = activations(model, data.x)
            for name in initial:
                initial[name][i, j] = _root_mean_square(before[name])
                moved = _root_mean_square(after[name] - before[name])
                change[name][i, j] = math.inf if curve.stopped else moved
    return CoordinateCheck(tuple(widths), steps, initial, change)


def activations(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What each layer with weights returns in evaluation mode, in the order of the calls, and the ``"output"``.

    Args:
        model: any network.
        x: inputs, [n, ...].
    """
    found: dict[str, Tensor] = {}
    hooks = []

    def note(name: str) -> Callable[[nn.Module, tuple, Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            found[name] = output.clone()  # a nonlinearity behind it may work in place

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            hooks.append(module.register_forward_hook(note(name)))
    try:
        with torch.no_grad(), evaluation_mode(model):
            output = model(x)
    finally:
        for handle in hooks:
            handle.remove()
    hidden = {name: value for name, value in found.items() if not torch.equal(value, output)}
    return hidden | {OUTPUT: output}


def _root_mean_square(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()
