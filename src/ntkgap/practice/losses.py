"""Losses of training, summed over examples so that learning rates compare with eigenvalues of the kernel."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from ntkgap.data import Dataset
from ntkgap.errors import ModelError, StudyError

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """½‖f − y‖², summed over examples and outputs."""
    return 0.5 * (outputs - targets).square().sum()


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """−Σ y log softmax(f), summed over examples; y holds one-hot classes or probabilities."""
    return F.cross_entropy(outputs, targets, reduction="sum")


LOSSES: dict[str, Loss] = {"squared": squared_loss, "cross_entropy": cross_entropy}


def choose_loss(name: str, *datasets: Dataset | None) -> Loss:
    """The loss of that name, once it is sure that it makes sense for the targets.

    Args:
        name: ``"squared"`` or ``"cross_entropy"``.
        datasets: whose targets it will be applied to.

    Raises:
        StudyError: if the name is unknown, or cross-entropy is asked for targets that are not probabilities.
    """
    if name not in LOSSES:
        raise StudyError(f"unknown loss {name!r}; choose one of {', '.join(LOSSES)}")
    if name == "cross_entropy":
        for data in datasets:
            if data is not None and ((data.y < 0).any() or ((data.y.sum(dim=1) - 1).abs() > 1e-4).any()):
                raise StudyError(
                    "loss='cross_entropy' needs targets that are one-hot or probabilities, rows of numbers of at "
                    "least 0 that add up to 1; load the data with targets='one_hot' or use loss='squared'"
                )
    return LOSSES[name]


def outputs_like(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs in the shape of their targets [n, C]; those of a network with one output may come as [n].

    Raises:
        ModelError: if they have another shape, which arithmetic would otherwise broadcast to a wrong number.
    """
    if outputs.ndim == 1 and targets.shape == (len(outputs), 1):
        return outputs[:, None]
    if outputs.shape != targets.shape:
        raise ModelError(
            f"the model's outputs have shape {tuple(outputs.shape)}, the targets {tuple(targets.shape)}; "
            "build the model with one output for every column of the targets"
        )
    return outputs
