"""Targets and losses as users have them, on the probe."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ntkgap.errors import DataError, NtkgapError, StudyError, reason
from ntkgap.practice.training.losses import LOSSES, name_of


def target_columns(y: Any, outputs: Tensor, name: str = "y") -> Tensor:
    """Targets laid out as the outputs are, [n, C]; class numbers become one-hot rows.

    Args:
        y: a number for each output, or a class number for each example, or for each place where classes are the
            last or the second axis of the outputs.
        outputs: in the shape in which the network returns them, [n, ...].
        name: for messages.

    Raises:
        DataError: if they do not fit the outputs.
    """
    try:
        y = torch.as_tensor(y, device=outputs.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} holds no numbers ({reason(error)}); give a tensor") from error
    n, shape = len(outputs), outputs.shape
    if y.ndim == 0 or len(y) != n:
        raise DataError(f"{name} has shape {tuple(y.shape)}, but the probe holds {n} examples")
    whole = not y.is_floating_point() and y.dtype != torch.bool
    for axis in (outputs.ndim - 1, 1):
        places = shape[:axis] + shape[axis + 1 :]
        if whole and outputs.ndim > 1 and shape[axis] > 1 and y.numel() == places.numel() and y.numel() >= n:
            low, high = int(y.min()), int(y.max())
            if low < 0 or high >= shape[axis]:
                raise DataError(
                    f"{name} holds the class numbers {low} … {high}, the model has {shape[axis]} outputs"
                )
            return F.one_hot(y.reshape(places).long(), shape[axis]).movedim(-1, axis).reshape(n, -1).to(outputs)
    if y.numel() == outputs.numel():
        return y.reshape(n, -1).to(outputs)
    raise DataError(
        f"{name} has shape {tuple(y.shape)}, which does not fit outputs of shape {tuple(shape)}; give class "
        "numbers, or one number for each output"
    )


class ProbeLoss:
    """A loss of the outputs on the probe, with its second derivatives by the outputs.

    Args:
        loss: ``"squared"`` ½‖f − y‖², ``"cross_entropy"`` (both sums), or any function or module of outputs and
            targets that returns one number.
        y: targets as the loss takes them.
    """

    def __init__(self, loss: Any, y: Any) -> None:
        if isinstance(loss, str) and loss not in LOSSES:
            raise StudyError(f"unknown loss {loss!r}; choose one of {', '.join(LOSSES)}, or give a function")
        if not callable(loss) and not isinstance(loss, str):
            raise StudyError(f"loss= takes a name or a function (outputs, targets) -> loss, got {loss!r}")
        self._loss: Callable[[Tensor, Tensor], Any] = LOSSES[loss] if isinstance(loss, str) else loss
        self._columns = loss == "squared"
        self._name = loss if isinstance(loss, str) else name_of(loss)
        self._y = torch.as_tensor(y)

    def __call__(self, outputs: Tensor) -> Tensor:
        """The loss, a tensor without axes, of outputs in the shape in which the network returns them."""
        return self._of(outputs, self._y.to(outputs.device))

    def _of(self, outputs: Tensor, y: Tensor) -> Tensor:
        if self._columns:
            y = target_columns(y, outputs)
            outputs = outputs.reshape(len(outputs), -1)
        elif y.is_floating_point():
            y = y.to(outputs.dtype)
            # Outputs [n, 1] less targets [n] would be [n, n].
            y = y.reshape(outputs.shape) if y.numel() == outputs.numel() else y
        try:
            found = self._loss(outputs, y)
        except NtkgapError:
            raise
        except Exception as error:
            raise StudyError(
                f"loss={self._name} failed on outputs {tuple(outputs.shape)} and targets {tuple(y.shape)} of the "
                f"probe: {reason(error)}"
            ) from error
        if not isinstance(found, Tensor) or found.numel() != 1 or not found.is_floating_point():
            raise StudyError(f"loss={self._name} must return one number, a tensor; got {reason(Exception(found))}")
        return found.reshape(())

    def examples_per_unit(self, outputs: Tensor, batch_size: int | None) -> float:
        """By what the curvature on the probe is multiplied: 1 for a mean over examples, batch/k for a sum.

        Which of the two it is shows when every example is given twice.
        """
        with torch.no_grad():
            once, y = self(outputs), self._y.to(outputs.device)
            twice = self._of(torch.cat([outputs, outputs]), torch.cat([y, y]))
        is_sum = abs(float(twice - 2 * once)) <= 1e-4 * abs(float(once)) and float(once) != 0
        return batch_size / len(outputs) if is_sum and batch_size is not None else 1.0

    def is_sum(self, outputs: Tensor) -> bool:
        """Whether the loss is a sum over examples."""
        return not math.isclose(self.examples_per_unit(outputs, 2 * len(outputs)), 1.0)

    def curvature(self, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """W ↦ S w with S = ∂²L/∂f², for w in the shape of the outputs."""
        with torch.enable_grad():
            leaf = outputs.detach().requires_grad_()
            value = self(leaf)
            if not value.requires_grad:
                raise StudyError(f"loss={self._name} does not depend on the outputs")
            (slope,) = torch.autograd.grad(value, leaf, create_graph=True)

        def product(w: Tensor) -> Tensor:
            if not slope.requires_grad:
                return torch.zeros_like(w)
            return torch.autograd.grad(slope, leaf, w, retain_graph=True, allow_unused=True)[0]

        return product
