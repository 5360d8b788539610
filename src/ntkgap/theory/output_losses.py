"""Losses as functions of a network's outputs alone, with their gradients by the outputs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ntkgap.errors import KernelError

Loss = str | Callable[[Tensor, Tensor], Tensor]

NAMES = ("squared", "cross_entropy")


class OutputLoss:
    """A loss on the outputs of several functions at once, each by itself.

    Args:
        loss: ``"squared"`` ½‖f − y‖², ``"cross_entropy"`` −Σ y log softmax(f), both sums over examples and
            outputs; or a callable, given outputs [b, C] in float64 and their targets, that returns one number.
        targets: y, [n, C]; of a callable whatever it takes, with one entry an example, [n, ...]. Those of
            floating point are made float64.
        like: outputs that the loss will be of, [D, n, C].

    Raises:
        KernelError: if the loss is unknown, or the targets do not go with it or with the outputs.
    """

    def __init__(self, loss: Loss, targets: Tensor, like: Tensor) -> None:
        if not callable(loss) and not (isinstance(loss, str) and loss in NAMES):
            raise KernelError(f"unknown loss {loss!r}; give one of {', '.join(NAMES)}, or a callable")
        if isinstance(loss, type):
            raise KernelError(f"loss is the class {loss.__name__}; give a loss, such as {loss.__name__}()")
        if not isinstance(targets, Tensor):
            raise KernelError(f"the targets must be a tensor, got {type(targets).__name__}")
        shape = tuple(like.shape[1:])
        if callable(loss):
            if targets.ndim == 0 or len(targets) != shape[0]:
                raise KernelError(
                    f"the targets must have one entry for each of the {shape[0]} examples, got shape "
                    f"{tuple(targets.shape)}"
                )
        elif tuple(targets.shape) != shape or not targets.is_floating_point():
            raise KernelError(
                f"the targets of loss={loss!r} must hold floating-point numbers of shape {shape}, one for every "
                f"output, got {targets.dtype} of shape {tuple(targets.shape)}"
            )
        if not torch.isfinite(targets).all():
            raise KernelError("the targets have NaN or infinite entries")
        if loss == "cross_entropy" and ((targets < 0).any() or ((targets.sum(dim=1) - 1).abs() > 1e-4).any()):
            raise KernelError(
                "loss='cross_entropy' needs targets that are one-hot or probabilities, rows of numbers of at "
                "least 0 that add up to 1; for class indices give torch.nn.CrossEntropyLoss(reduction='sum')"
            )
        self._loss = loss
        # A clone, since what was made in inference mode takes no part in derivatives.
        targets = targets.detach().clone().to(like.device)
        self._targets = targets.double() if targets.is_floating_point() else targets

    def size(self) -> Tensor:
        """How large outputs are to be, [n, C] or a number: |y|, and nothing known of a callable's targets."""
        return self._targets.new_zeros((), dtype=torch.float64) if callable(self._loss) else self._targets.abs()

    def values(self, outputs: Tensor) -> Tensor:
        """The loss of each function on all examples, [D, n, C] -> [D].

        Raises:
            KernelError: if a callable fails or returns something else than a number.
        """
        if self._loss == "squared":
            return 0.5 * (outputs - self._targets).square().sum(dim=(1, 2))
        if self._loss == "cross_entropy":
            return -(self._targets * outputs.log_softmax(dim=-1)).sum(dim=(1, 2))
        return torch.stack([self._called(f, self._targets) for f in outputs])

    def gradients(self, outputs: Tensor, rows: Tensor | slice) -> Tensor:
        """∂L/∂f of the loss on some of the examples alone, [D, n, C] -> [D, b, C].

        Args:
            outputs: f on all examples, [D, n, C].
            rows: which b of them.

        Raises:
            KernelError: if a callable fails, or its value does not depend on the outputs.
        """
        f, y = outputs[:, rows], self._targets[rows]
        if self._loss == "squared":
            return f - y
        if self._loss == "cross_entropy":
            return f.softmax(dim=-1) * y.sum(dim=-1, keepdim=True) - y
        with torch.enable_grad():
            f = f.detach().requires_grad_()
            total = torch.stack([self._called(one, y) for one in f]).sum()
            if not total.requires_grad:
                raise KernelError(
                    "the value of the loss does not depend on the outputs in a way that autograd can follow; "
                    "compute it with torch functions, without detach() and item()"
                )
            return torch.autograd.grad(total, f)[0]

    def _called(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What the callable returns, as a number in float64."""
        given = f"outputs of shape {tuple(outputs.shape)} in float64 and targets of shape {tuple(targets.shape)}"
        try:
            found: Any = self._loss(outputs, targets)  # type: ignore[operator]
        except Exception as error:  # whatever a loss of the user's own may raise
            raise KernelError(
                f"the loss raised {type(error).__name__} for {given} in {targets.dtype}: {error}"
            ) from error
        if not isinstance(found, Tensor) or found.numel() != 1 or not found.is_floating_point():
            got = f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)
            raise KernelError(f"the loss must return a tensor with one number for {given}, got {got}")
        return found.reshape(()).double()
