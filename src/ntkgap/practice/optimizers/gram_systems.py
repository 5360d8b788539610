"""The linear system of a natural gradient step, (J Jᵀ + λI) w = f − y: with the Gram matrix, or without."""

from typing import Protocol

import torch
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import KernelError, StudyError
from ntkgap.kernels import Jacobian, NTKOperator, jacobian
from ntkgap.kernels.empirical.recipe import Recipe
from ntkgap.kernels.memory import free_memory
from ntkgap.linalg import as_matrix
from ntkgap.linalg.rounding import check_solve, remedies
from ntkgap.practice.training.curves import NoStepError
from ntkgap.practice.training.losses import outputs_like

REMEDY = "set a damping"

# Rows of the largest Gram matrix that is factorized: twice as many take half a minute a step and 13 GB.
LARGEST_GRAM = 20_000


class GramSystem(Protocol):
    """J Jᵀ at one point of parameter space, and what can be done with it.

    Attributes:
        residual: f − y, [n, C].
    """

    residual: Tensor

    def solve(self, damping: float) -> Tensor:
        """(J Jᵀ + damping · I)⁻¹ (f − y), [n, C].

        Raises:
            NoStepError: if arithmetic does not carry that far.
        """
        ...

    def direction(self, weights: Tensor) -> dict[str, Tensor]:
        """Jᵀ w for weights w of shape [n, C], by parameter."""
        ...

    def mean_eigenvalue(self) -> float:
        """Of J Jᵀ: the scale that a damping compares with."""
        ...


class CholeskySystem:
    """The Gram matrix formed and factorized: exact, for n·C up to ``LARGEST_GRAM``.

    Args:
        model: the network at this point.
        data: training set, y [n, C].
        recipe: how its Jacobian is had, where that is known.
        check: warn at the first solve if rounding decides it.
        checked: whether the recipe is believed, as for ``jacobian``.

    Attributes:
        at: the Jacobian.
        gram: J Jᵀ, [nC, nC].
        residual: f − y, [n, C].
    """

    def __init__(
        self, model: nn.Module, data: Dataset, recipe: Recipe | None, check: bool = False, checked: bool = False
    ) -> None:
        self._check = check
        self.at: Jacobian = jacobian(model, data.x, recipe=recipe, checked=checked)
        self.residual = outputs_like(self.at.outputs, data.y) - data.y
        self.gram = as_matrix(self.at.gram())

    def solve(self, damping: float) -> Tensor:
        """By a Cholesky factor."""
        diagonal = self.gram.diagonal().clone()
        self.gram.diagonal().add_(damping)
        factor, failed = torch.linalg.cholesky_ex(self.gram)
        self.gram.diagonal().copy_(diagonal)
        if failed:
            what_helps = remedies(self.gram, self.gram.dtype, REMEDY)
            raise NoStepError("the Gram matrix is numerically singular", what_helps)
        residual = self.residual.reshape(-1, 1)
        weights = torch.cholesky_solve(residual, factor)
        if self._check:
            self._check = False
            # Said of the line that trains: a step of control and the descent lie between.
            check_solve(self.gram, weights, residual, "the Gram matrix at the start", REMEDY, stacklevel=5)
        return weights.view_as(self.residual)

    def direction(self, weights: Tensor) -> dict[str, Tensor]:
        """From the factors of the Jacobian."""
        return self.at.vjp(weights)

    def mean_eigenvalue(self) -> float:
        """Trace over rows."""
        return self.gram.diagonal().mean().item()


class MatrixFreeSystem:
    """Conjugate gradients with products by J Jᵀ alone: for any n·C, to a relative residual of √ε.

    Attributes:
        residual: f − y, [n, C].
    """

    def __init__(self, model: nn.Module, data: Dataset) -> None:
        self._model, self._data = model, data
        self._operator = NTKOperator(model, data.x)
        with torch.no_grad():
            self.residual = outputs_like(model(data.x), data.y) - data.y

    def solve(self, damping: float) -> Tensor:
        """By preconditioned conjugate gradients."""
        tolerance = torch.finfo(self.residual.dtype).eps ** 0.5
        try:
            return self._operator.solve(self.residual, damping, tolerance)
        except KernelError as error:
            raise NoStepError("the damped system cannot be solved", str(error)) from error

    def direction(self, weights: Tensor) -> dict[str, Tensor]:
        """By one backward pass."""
        parameters = {name: p for name, p in self._model.named_parameters() if p.requires_grad}
        outputs = outputs_like(self._model(self._data.x), self._data.y)
        gradients = torch.autograd.grad(
            (outputs * weights).sum(), list(parameters.values()), allow_unused=True, materialize_grads=True
        )
        return dict(zip(parameters, gradients, strict=True))

    def mean_eigenvalue(self) -> float:
        """Trace over rows; the trace may be an estimate, the same one every time."""
        return self._operator.trace() / self._operator.shape[0]


def check_gram_fits(data: Dataset) -> None:
    """Refuse a Gram matrix that is too large to be formed and factorized.

    Raises:
        StudyError: naming the size, the limit and the way around.
    """
    rows = data.y.numel()
    needed = 3 * rows**2 * data.y.element_size()  # the kernel, the same as a matrix, and the factor
    if rows > LARGEST_GRAM:
        limit = f"at most {LARGEST_GRAM} rows are factorized"
    elif needed > (room := free_memory(data.y.device) // 2):
        limit = f"it and its factor take {needed / 1e9:.1f} GB where {room / 1e9:.1f} GB may be used"
    else:
        return
    raise StudyError(
        f"{len(data)} examples with {data.n_outputs} outputs make a Gram matrix of {rows} rows, and {limit}; "
        "use fewer examples, or solver='conjugate_gradients' with a damping"
    )
