"""Kernel regression by gradient flow, stopped where it fits the training targets as closely as the network."""

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from ntkgap.data import Dataset
from ntkgap.errors import KernelError
from ntkgap.kernels import plan_ntk
from ntkgap.studies.uncertainty.ensembles.prediction import Kernel, kernel_at_start

# Operations that one kernel may take: some ten seconds.
MOST_FLOPS = 5e11

# The latest stop, κ_max·t: at noise below this fraction of κ_max nobody looks.
LONGEST = 1e6


def kernel_of(model: nn.Module, train: Dataset, test: Dataset) -> Kernel:
    """The mean kernel K = Σ_c K_cc/C of a network on all training and test inputs.

    Args:
        model: in evaluation mode, float64; its kernel is taken at its present parameters.
        train: training set, float64.
        test: test set, float64.

    Raises:
        KernelError: if the kernel takes too many operations.
    """
    needed = plan_ntk(model, torch.cat([train.x, test.x]), outputs="mean").flops
    if needed > MOST_FLOPS:
        raise KernelError(
            f"the kernel of all {len(train)} training and {len(test)} test examples takes {needed:.0e} "
            f"operations, and {MOST_FLOPS:.0e} are spent on it at most; use fewer examples (n_train, n_test)"
        )
    return kernel_at_start(model, train, test)


def kernel_predictions(kernel: Kernel, y: Tensor, left: float) -> Tensor:
    r"""What kernel regression from zero says of new points.

    .. math:: K(x, X) K^{-1} (I - e^{-Kt}) y

    with t such that ‖e^{−Kt}y‖² is a given fraction of ‖y‖², at the latest 10⁶/κ_max.

    Args:
        kernel: K on training inputs [n, n], and of m new points with them.
        y: targets, [n, C].
        left: the fraction of the squared targets that is left.

    Returns:
        [m, C].

    Raises:
        KernelError: if the kernel is zero.
    """
    kappa, modes = torch.linalg.eigh(kernel.train.double())
    kappa = kappa.clamp(min=0.0)
    if not float(kappa[-1]) > 0:
        raise KernelError("the kernel is zero")
    coefficients = modes.T @ y.double()
    t = training_time(kappa, coefficients.square().sum(dim=1), left)
    # (1 − e^{−κt})/κ, which is t where κ vanishes.
    shrunk = torch.where(kappa * t > 1e-12, -torch.expm1(-kappa * t) / kappa.clamp(min=1e-300), t)
    duals = modes @ (shrunk[:, None] * coefficients)
    return kernel.cross.double() @ duals


def training_time(kappa: Tensor, squares: Tensor, left: float) -> float:
    """The time t at which Σ e^{−2κt}c² is a fraction of Σ c², between 0 and 10⁶/κ_max.

    Args:
        kappa: eigenvalues, [n].
        squares: c², [n].
        left: which part.
    """
    longest, total = LONGEST / float(kappa[-1]), float(squares.sum())

    def too_much(t: float) -> float:
        return float((squares * torch.exp(-2 * kappa * t)).sum()) / total - left

    if total == 0 or left >= 1:
        return 0.0
    if too_much(longest) >= 0:
        return longest
    return float(brentq(too_much, 0.0, longest, rtol=1e-6))
