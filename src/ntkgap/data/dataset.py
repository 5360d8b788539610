"""The pair of arrays that networks are fed, checked once when it is made."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ntkgap.errors import DataError

# Over these axes of [n, C, H, W] the pixels of a channel share their mean and standard deviation: one that is
# nearly constant in a small training set is not so in the test set.
IMAGE_AXES = (0, 2, 3)


@dataclass(frozen=True)
class Dataset:
    """Inputs and targets, finite and of matching length.

    Arrays of NumPy become tensors of torch's default type. Whole numbers [n] in y are class labels where n_classes
    is given, and become one column a class.

    Attributes:
        x: inputs, [n, ...].
        y: targets, [n, C]; one column a class for classification, or one of signs, −1 and 1, for two classes.
        n_classes: number of classes, or None for regression.
        units: what a target of 1 stands for in each column, [C], where regression targets were standardized; None
            where they are as they were given.

    Raises:
        DataError: if an array is empty, not floating point, not finite, the lengths differ, or the columns of y
            are not those of n_classes classes.

    Example:
        >>> data = ng.Dataset(torch.randn(4, 3), torch.tensor([0, 1, 2, 1]), n_classes=3)
        >>> data.y.shape, data.n_features
        (torch.Size([4, 3]), 3)
    """

    x: Tensor
    y: Tensor
    n_classes: int | None = None
    units: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y"):  # frozen, but not yet for others to see
            object.__setattr__(self, name, tensor_of(name, getattr(self, name)))
        if self.n_classes is not None and self.y.ndim == 1 and not self.y.is_floating_point():
            object.__setattr__(self, "y", _one_hot(self.y, self.n_classes))
        for name, array in (("x", self.x), ("y", self.y)):
            if not array.is_floating_point():
                labels = "; for class labels give them as [n], with n_classes=" if name == "y" else ""
                raise DataError(f"{name} holds {array.dtype}; convert it to a floating-point type first{labels}")
            if array.numel() == 0 or array.ndim < 2:
                raise DataError(
                    f"{name} has shape {tuple(array.shape)}; it needs at least one example and "
                    "two dimensions, [n, ...] for x and [n, C] for y"
                )
            bad = ~torch.isfinite(array.flatten(1)).all(dim=1)
            if bad.any():
                first = int(bad.nonzero()[0])
                raise DataError(
                    f"{name} has NaN or infinite entries in {int(bad.sum())} of {len(array)} examples "
                    f"(the first is example {first}); drop or impute them before the run"
                )
        if len(self.x) != len(self.y):
            raise DataError(f"x has {len(self.x)} examples but y has {len(self.y)}; they must match")
        if self.y.ndim != 2:
            raise DataError(f"y has shape {tuple(self.y.shape)}; it must be [n, C]")
        if self.n_classes is not None:
            _check_classes(self.y, self.n_classes)
        if self.units is not None and self.units.shape != self.y.shape[1:]:
            raise DataError(
                f"units has shape {tuple(self.units.shape)}; it must be one a target, {self.n_outputs}"
            )

    def __repr__(self) -> str:
        kind = f"{self.n_outputs} targets" if self.n_classes is None else f"{self.n_classes} classes"
        dtype = str(self.x.dtype).removeprefix("torch.")
        return f"Dataset({len(self)} examples, x {list(self.x.shape[1:])}, {kind}, {dtype})"

    def __len__(self) -> int:
        return len(self.x)

    @property
    def n_outputs(self) -> int:
        """Number of target columns C."""
        return self.y.shape[1]

    @property
    def n_features(self) -> int:
        """Number of input entries an example."""
        return self.x[0].numel()

    def to(self, to: torch.dtype | torch.device | str) -> "Dataset":
        """Cast inputs and targets to a type, or move them to a device."""
        units = None if self.units is None else self.units.to(to)
        return Dataset(self.x.to(to), self.y.to(to), self.n_classes, units)


def check_plain(name: str, values: Tensor) -> None:
    """Refuse tensors whose entries do not lie one after the other in memory: sparse, quantized, nested, or none.

    Raises:
        DataError: naming the kind and the remedy.
    """
    if values.is_meta:
        raise DataError(f"{name} is a tensor on the meta device, which holds no numbers; make it on 'cpu'")
    if values.layout != torch.strided or values.is_nested:
        kind = "nested" if values.is_nested else str(values.layout).removeprefix("torch.")
        raise DataError(f"{name} is a tensor of layout {kind}; pass {name}.to_dense()")
    if values.is_quantized:
        raise DataError(f"{name} is a quantized tensor; pass {name}.dequantize()")


def check_default_device() -> None:
    """Refuse to make data where tensors hold no numbers.

    Raises:
        DataError: if torch makes tensors on the meta device unless told otherwise.
    """
    if torch.get_default_device().type == "meta":
        raise DataError("torch's default device is 'meta', where data hold no numbers; set another first")


def tensor_of(name: str, values: object) -> Tensor:
    """A tensor of a tensor or a NumPy array; numbers of the latter in torch's default type."""
    if isinstance(values, Tensor):
        check_plain(name, values)
        return values
    if not isinstance(values, np.ndarray):
        raise DataError(f"{name} must be a tensor or a NumPy array, got {type(values).__name__}")
    if values.dtype.kind not in "fiub":
        raise DataError(f"{name} holds {values.dtype}, which are no real numbers; convert it first")
    if values.dtype.kind == "f":  # of any size and order of bytes
        return torch.from_numpy(np.require(values, np.float64, ["C", "W"])).to(torch.get_default_dtype())
    return torch.from_numpy(np.require(values, values.dtype.newbyteorder("="), ["C", "W"]))


def _one_hot(labels: Tensor, n_classes: int) -> Tensor:
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise DataError(
            f"y has labels from {int(labels.min())} to {int(labels.max())}; with n_classes={n_classes} they must "
            f"be from 0 to {n_classes - 1}"
        )
    return torch.nn.functional.one_hot(labels.long(), n_classes).to(torch.get_default_dtype())


def _check_classes(y: Tensor, n_classes: int) -> None:
    """Refuse columns that are not those of so many classes.

    Raises:
        DataError: naming the coding that is meant.
    """
    if y.shape[1] >= n_classes:  # more where tasks have heads of their own
        return
    if y.shape[1] != 1 or n_classes != 2:
        raise DataError(
            f"y has {y.shape[1]} columns, but there are {n_classes} classes; give one column a class, or whole "
            "numbers [n] as labels"
        )
    if bool(((y == 0) | (y == 1)).all()) and bool((y == 0).any()):
        raise DataError(
            "y has one column of 0 and 1; in one column two classes are −1 and 1, and are told apart by the sign: "
            "pass 2 * y - 1, or whole numbers [n] as labels"
        )


def check_flag(name: str, value: object) -> None:
    """Refuse what is not True or False: any text would count as True.

    Raises:
        DataError: naming the option.
    """
    if not isinstance(value, bool):
        raise DataError(f"{name} must be True or False, got {value!r}")


def encode_classes(labels: Tensor, n_classes: int, coding: str) -> Tensor:
    """Turn integer labels [n] into target columns [n, n_classes], or [n, 1] for signs.

    Args:
        labels: class of each example, 0 … n_classes − 1.
        n_classes: number of classes.
        coding: ``"one_hot"`` (1 for the class, 0 elsewhere), ``"plus_minus"`` (1 and −1), or ``"sign"`` (a single
            column, −1 for the first of two classes and 1 for the second).

    Raises:
        DataError: if the coding is unknown, or signs are asked for with more or fewer than two classes.
    """
    one_hot = torch.nn.functional.one_hot(labels.long(), n_classes).float()
    if coding == "one_hot":
        return one_hot
    if coding == "plus_minus":
        return 2 * one_hot - 1
    if coding == "sign":
        if n_classes != 2:
            raise DataError(
                f"targets='sign' tells two classes apart, but there are {n_classes}; choose two (classes=[...], "
                "where the data set takes that), or targets='plus_minus'"
            )
        return one_hot[:, 1:] - one_hot[:, :1]
    raise DataError(f"unknown targets {coding!r} for classes; choose 'one_hot', 'plus_minus' or 'sign'")


def deviations(values: Tensor) -> Tensor:
    """Standard deviation of every column of [n, C], by which ``scale_inputs`` divides; 1 for constant columns."""
    constant = values.amax(dim=0) == values.amin(dim=0)
    return torch.where(constant, 1.0, values.std(dim=0, correction=0))


def scale_inputs(
    train: Tensor, test: Tensor, scaling: str, shared: tuple[int, ...] = (0,)
) -> tuple[Tensor, Tensor]:
    """Scale inputs [n, ...] by statistics of the training inputs alone.

    Args:
        train: training inputs.
        test: test inputs.
        scaling: ``"standardize"`` (each feature to mean 0 and standard deviation 1 over the training
            set; constant features become 0), ``"unit_norm"`` (each example to Euclidean norm 1), or ``"none"``.
        shared: axes over which mean and standard deviation are taken; ``IMAGE_AXES`` for images.

    Raises:
        DataError: if the scaling is unknown, an example is zero and cannot have unit norm, or a feature is too
            large or too small for its mean square to be a number.
    """
    if scaling == "none":
        return train, test
    if scaling == "standardize":
        mean = train.mean(dim=shared, keepdim=True)
        std = train.std(dim=shared, correction=0, keepdim=True)
        # Rounding gives constant features a mean and a deviation that are not quite theirs.
        constant = train.amax(dim=shared, keepdim=True) == train.amin(dim=shared, keepdim=True)
        mean = torch.where(constant, train.amax(dim=shared, keepdim=True), mean)
        std = torch.where(constant, torch.ones_like(std), std)
        if not bool((torch.isfinite(std) & torch.isfinite(mean) & (std > 0)).all()):
            raise DataError(
                f"a feature has values up to {float(train.abs().max()):.3g}, whose squares are no numbers of type "
                f"{train.dtype}; divide it by their size first"
            )
        return (train - mean) / std, (test - mean) / std
    if scaling == "unit_norm":
        norms = [x.flatten(1).norm(dim=1) for x in (train, test)]
        if any((norm == 0).any() for norm in norms):
            raise DataError("an example is all zero and cannot be scaled to unit norm; use another scaling")
        ones = (1,) * (train.ndim - 1)
        return train / norms[0].view(-1, *ones), test / norms[1].view(-1, *ones)
    raise DataError(f"unknown scaling {scaling!r}; choose 'standardize', 'unit_norm' or 'none'")
