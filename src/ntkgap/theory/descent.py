"""Which descents close in function space, and the settings of each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.matrices import indices
from ntkgap.one_line import one_line

DecayTo = Literal["zero", "initial"]
BatchScale = Literal["n/b"] | float


@dataclass(frozen=True)
class Descent:
    r"""The update of ``torch.optim.SGD``, along gradients g of the loss that may be clipped before.

    .. math:: d = g + \lambda (\theta - \theta_*), \quad v \leftarrow \mu v + d, \quad
              \theta \leftarrow \theta - \eta v \quad (\theta - \eta (d + \mu v) \text{ with nesterov})

    Args:
        momentum: μ.
        nesterov: whether the step looks ahead.
        weight_decay: λ.
        decay_to: what θ_* is: 0 or θ_0.
        clip_norm: largest norm of g over all parameters, as ``torch.nn.utils.clip_grad_norm_`` has it.

    Raises:
        KernelError: if a number is out of range.
    """

    momentum: float
    nesterov: bool
    weight_decay: float
    decay_to: DecayTo
    clip_norm: float | None

    __repr__ = one_line

    def __post_init__(self) -> None:
        if not is_number(self.momentum) or not 0 <= self.momentum < 1:
            raise KernelError(f"momentum must be at least 0 and below 1, got {self.momentum!r}")
        if not isinstance(self.nesterov, bool) or (self.nesterov and self.momentum == 0):
            raise KernelError(
                f"nesterov must be True, with a momentum above 0, or False; got nesterov={self.nesterov!r} with "
                f"momentum={self.momentum!r}"
            )
        if not is_number(self.weight_decay) or not 0 <= self.weight_decay < math.inf:
            raise KernelError(f"weight_decay must be finite and at least 0, got {self.weight_decay!r}")
        if not isinstance(self.decay_to, str) or self.decay_to not in ("zero", "initial"):
            raise KernelError(f"decay_to must be 'zero' or 'initial', got {self.decay_to!r}")
        if self.clip_norm is not None and not (is_number(self.clip_norm) and 0 < self.clip_norm < math.inf):
            raise KernelError(f"clip_norm must be positive and finite, or None, got {self.clip_norm!r}")

    @property
    def moves_start(self) -> bool:
        """Whether θ_0 itself shrinks."""
        return self.weight_decay > 0 and self.decay_to == "zero"

    def step(self, place: Tensor, velocity: Tensor, gradient: Tensor, rate: float) -> None:
        """One update, in place: of parameters or of linear coordinates of them, with their velocities."""
        direction = gradient.add(place, alpha=self.weight_decay)
        velocity.mul_(self.momentum).add_(direction)
        along = direction.add_(velocity, alpha=self.momentum) if self.nesterov else velocity
        place.sub_(along, alpha=rate)


def check_steps(steps: object) -> int:
    """The number of updates.

    Raises:
        KernelError: if it is no integer of at least 0.
    """
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 0:
        raise KernelError(f"steps must be an integer of at least 0, got {steps!r}")
    return int(steps)


def rate_of_each_step(learning_rate: Any, steps: int) -> list[float]:
    """η at every step.

    Args:
        learning_rate: a number, or one a step: a sequence, an array or a tensor.
        steps: how many.

    Raises:
        KernelError: if there are fewer or more, or one is not finite; a number must be positive, those of a
            schedule at least 0.
    """
    if hasattr(learning_rate, "tolist"):
        learning_rate = learning_rate.tolist()  # of torch or numpy
    if is_number(learning_rate):
        if not 0 < learning_rate < math.inf:
            raise KernelError(f"learning_rate must be positive and finite, got {learning_rate!r}")
        return [float(learning_rate)] * steps
    if not isinstance(learning_rate, Sequence) or isinstance(learning_rate, str):
        raise KernelError(f"learning_rate must be a number or one a step, got {learning_rate!r}")
    if len(learning_rate) != steps:
        raise KernelError(f"learning_rate has {len(learning_rate)} numbers for {steps} steps; give one a step")
    rates = [r.item() if getattr(r, "ndim", None) == 0 else r for r in learning_rate]
    for step, rate in enumerate(rates):
        if not is_number(rate) or not 0 <= rate < math.inf:
            raise KernelError(f"learning_rate at step {step} must be finite and at least 0, got {rate!r}")
    return [float(rate) for rate in rates]


class Minibatches:
    """Which examples the loss of each step is of, and what it is multiplied with.

    Args:
        batches: indices of examples, one tensor or sequence of them a step, repeated ones count as often; None
            for all examples at every step.
        scale: ``"n/b"`` or a number; None where there are no batches.
        steps: how many.
        examples: n.

    Raises:
        KernelError: if a batch is empty or out of range, there is not one a step, or the scale is not given.
    """

    def __init__(self, batches: Sequence[Any] | None, scale: BatchScale | None, steps: int, examples: int) -> None:
        if (batches is None) != (scale is None):
            raise KernelError(
                "batches need a batch_scale, and nothing else does: 'n/b' if the loss is a sum over examples, so "
                "that a batch estimates the whole (with divisor=n: the batch's mean); 1 if the loss of a batch is "
                "what the callable returns, as with a mean-reduced torch loss"
            )
        named = isinstance(scale, str) and scale == "n/b"
        if scale is not None and not named and not (is_number(scale) and 0 < float(scale) < math.inf):
            raise KernelError(f"batch_scale must be 'n/b' or a positive number, got {scale!r}")
        if batches is not None and not (isinstance(batches, Sequence | Tensor) and len(batches) == steps):
            found = len(batches) if isinstance(batches, Sequence | Tensor) else type(batches).__name__
            raise KernelError(f"batches must be a list with one for each of the {steps} steps, got {found}")
        self.scale, self.examples = scale, examples
        self.rows = None if batches is None else [_rows(b, examples, step) for step, b in enumerate(batches)]

    def of(self, step: int) -> tuple[Tensor | slice, float]:
        """The examples of a step, and the factor of their loss."""
        if self.rows is None or self.scale is None:
            return slice(None), 1.0
        rows = self.rows[step]
        return rows, self.examples / len(rows) if self.scale == "n/b" else float(self.scale)


def _rows(batch: Any, examples: int, step: int) -> Tensor:
    name = f"the batch of step {step}"
    try:
        batch = torch.as_tensor(batch)
    except (TypeError, ValueError, RuntimeError) as error:
        raise KernelError(f"{name} is no tensor of indices: {error}") from None
    rows = indices(batch, examples, name)
    if len(rows) == 0:
        raise KernelError(f"{name} is empty; leave that step out")
    return rows


def sgd_settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The settings of a ``torch.optim.SGD`` as ``train_in_function_space`` takes them.

    Args:
        optimizer: over the parameters that the kernel is of, before its first step. Schedulers are not read:
            replace ``learning_rate`` by one number a step.

    Returns:
        ``learning_rate``, ``momentum``, ``nesterov``, ``weight_decay``.

    Raises:
        KernelError: if what it does is no function of outputs and kernel; the message says why.

    Example:
        >>> net = nn.Linear(3, 1)
        >>> ng.theory.sgd_settings(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
        {'learning_rate': 0.1, 'momentum': 0.9, 'nesterov': False, 'weight_decay': 0.0}
    """
    linearized = "train the linearized model with it instead, ntkgap.linearize(model)"
    if type(optimizer) is not torch.optim.SGD:
        raise KernelError(
            f"{type(optimizer).__name__} is not torch.optim.SGD, the one whose steps outputs and kernel determine "
            "(Adam, for one, divides every parameter's gradient by a size of its own, which no kernel knows); "
            f"{linearized}"
        )
    groups = optimizer.param_groups
    for name in ("lr", "momentum", "nesterov", "weight_decay", "dampening", "maximize"):
        if len({float(group[name]) for group in groups}) > 1:
            raise KernelError(f"{name} differs between the optimizer's parameter groups; {linearized}")
    group = groups[0]
    if group["dampening"] or group["maximize"]:
        raise KernelError(f"dampening and maximize are not followed in function space; {linearized}")
    if any(state.get("momentum_buffer") is not None for state in optimizer.state.values()):
        raise KernelError(
            "the optimizer has a velocity from earlier steps, which outputs do not show; give a new one"
        )
    return {
        "learning_rate": float(group["lr"]),
        "momentum": float(group["momentum"]),
        "nesterov": bool(group["nesterov"]),
        "weight_decay": float(group["weight_decay"]),
    }


def is_number(value: object) -> bool:
    """Whether it is a real number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)
