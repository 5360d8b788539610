"""Losses of training: summed over examples, so that learning rates compare with eigenvalues; or one's own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.data import Dataset
from ntkgap.errors import ModelError, NtkgapError, StudyError
from ntkgap.models.calls import output_tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """½‖f − y‖², summed over examples and outputs."""
    return 0.5 * (outputs - targets).square().sum()


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """−Σ y log softmax(f), summed over examples; y holds one-hot classes or probabilities."""
    return F.cross_entropy(outputs, targets, reduction="sum")


LOSSES: dict[str, Loss] = {"squared": squared_loss, "cross_entropy": cross_entropy}


@dataclass(frozen=True)
class OwnLoss:
    """A user's function of outputs [n, C] and targets [n, C]; its reduction counts as it is.

    Attributes:
        function: a callable or an ``nn.Module``.
    """

    function: Callable[[Tensor, Tensor], Any]

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss, a tensor without axes.

        Raises:
            StudyError: if the function fails or returns anything else.
        """
        try:
            found = self.function(outputs, targets)
        except NtkgapError:
            raise
        except Exception as error:
            raise StudyError(
                f"loss={self.name} failed on outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}: "
                f"{error}; targets are columns [n, C], so that class numbers are targets.argmax(1)"
            ) from error
        if not isinstance(found, Tensor) or found.numel() != 1 or not found.is_floating_point():
            what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else repr(found)[:60]
            raise StudyError(
                f"loss={self.name} returned {what}, but a loss is one number, a tensor: take the mean or the sum "
                "over examples"
            )
        return found.reshape(())

    @property
    def name(self) -> str:
        """For messages."""
        return name_of(self.function)


def name_of(thing: object) -> str:
    """What a user's class, function or module is called in messages."""
    return getattr(thing, "__name__", None) or type(thing).__name__


def choose_loss(loss: object, *datasets: Dataset | None) -> Loss:
    """The loss of that name, or one's own, once it is sure that it makes sense for the targets.

    Args:
        loss: ``"squared"`` or ``"cross_entropy"``, or a function or module of outputs and targets.
        datasets: whose targets it will be applied to.

    Raises:
        StudyError: if the name is unknown, cross-entropy is asked for targets that are not probabilities, or a
            module has parameters of its own, which nobody would train.
    """
    if isinstance(loss, OwnLoss):
        return loss
    if callable(loss) and not isinstance(loss, str | type):
        if isinstance(loss, nn.Module) and any(p.requires_grad for p in loss.parameters()):
            raise StudyError(
                f"loss={name_of(loss)} has parameters of its own, which the optimizer would not train; put them "
                f"into "
                "the model, or freeze them"
            )
        return OwnLoss(loss)
    if not isinstance(loss, str) or loss not in LOSSES:
        raise StudyError(
            f"unknown loss {loss!r}; choose one of {', '.join(LOSSES)}, or give a function (outputs, targets) -> "
            "loss, such as nn.CrossEntropyLoss()"
        )
    if loss == "cross_entropy":
        for data in datasets:
            if data is not None and ((data.y < 0).any() or ((data.y.sum(dim=1) - 1).abs() > 1e-4).any()):
                raise StudyError(
                    "loss='cross_entropy' needs targets that are one-hot or probabilities, rows of numbers of at "
                    "least 0 that add up to 1; load the data with targets='one_hot' or use loss='squared'"
                )
    return LOSSES[loss]


def loss_on(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Tensor:
    """The loss of a network on examples [n, ...] with targets [n, C], in the mode it is in.

    Raises:
        ModelError: if it returns no tensor, or outputs of another shape than the targets for a loss by name.
    """
    outputs = output_tensor(model, model(x))
    own = isinstance(loss, OwnLoss)
    return loss(with_columns(outputs, y) if own else outputs_like(outputs, y), y)


def check_gradient(loss: Loss | str, value: Tensor) -> None:
    """Refuse a loss of one's own that has no gradient.

    Raises:
        StudyError: naming it.
    """
    if isinstance(loss, OwnLoss) and not value.requires_grad:
        raise StudyError(
            f"loss={loss.name} has no gradient: it does not depend on the outputs, or was cut off from them by "
            "detach(), item(), argmax or no_grad"
        )


def with_columns(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs [n] of a network with one output as [n, 1], where the targets are so."""
    if outputs.ndim == 1 and targets.shape == (len(outputs), 1):
        return outputs[:, None]
    return outputs


def outputs_like(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs in the shape of their targets [n, C]; those of a network with one output may come as [n].

    Raises:
        ModelError: if they have another shape, which arithmetic would otherwise broadcast to a wrong number.
    """
    outputs = with_columns(outputs, targets)
    if outputs.shape != targets.shape:
        raise ModelError(
            f"the model's outputs have shape {tuple(outputs.shape)}, the targets {tuple(targets.shape)}; "
            "build the model with one output for every column of the targets"
        )
    return outputs


def one_loss_a_network(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of every network, outputs and targets [M, n, C] -> [M].

    Raises:
        ModelError: if they have other shapes, for a loss by name.
    """
    if isinstance(loss, OwnLoss):
        return torch.stack([loss(f, y) for f, y in zip(outputs, targets, strict=True)])
    outputs_like(outputs[0], targets[0])
    if loss is squared_loss:
        return 0.5 * (outputs - targets).square().flatten(1).sum(dim=1)
    return torch.stack([loss(f, y) for f, y in zip(outputs, targets, strict=True)])
