"""The noise of observations in regression: one variance for all outputs, or one for each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

import torch
from torch import Tensor

from ntkgap.errors import KernelError

Noise = float | Sequence[float] | Tensor


def check_hyperparameters(prior_precision: object, noise_variance: object) -> None:
    """Refuse a precision or noise that is not positive and finite.

    Raises:
        KernelError: naming the argument.
    """
    for name, value in (("prior_precision", prior_precision), ("noise_variance", noise_variance)):
        if not isinstance(value, Real) or not 0 < float(value) < math.inf:
            raise KernelError(f"{name} must be a positive and finite number, got {value!r}")


def noise_of_outputs(noise_variance: object, outputs: int) -> Tensor | None:
    """σ² of every output, [C], float64; None for one number, which all share.

    Raises:
        KernelError: if it is neither a positive and finite number nor one for each output.
    """
    if isinstance(noise_variance, Real):
        check_hyperparameters(1.0, noise_variance)
        return None
    try:
        found = torch.as_tensor(noise_variance, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        found = torch.empty(0)
    if found.ndim == 0 and found.numel() == 1:
        raise KernelError(f"noise_variance must be a positive and finite number, got {noise_variance!r}")
    if found.shape != (outputs,) or not bool((torch.isfinite(found) & (found > 0)).all()):
        raise KernelError(
            f"noise_variance must be one positive and finite number, or one for each of the {outputs} outputs, "
            f"got {noise_variance!r}"
        )
    return found


def no_noise(likelihood: str) -> KernelError:
    """What is said where classes are given a noise."""
    return KernelError(f"noise_variance is of regression: likelihood {likelihood!r} has none; leave it out")


@dataclass(frozen=True)
class OutputNoise:
    """σ², a factor times the noise of each output.

    Attributes:
        scale: the factor; σ² itself where all outputs share it.
        of_outputs: in units of the scale, [C], float64; None where all outputs share σ².
    """

    scale: float = 1.0
    of_outputs: Tensor | None = None

    @classmethod
    def of(cls, given: Noise | None, outputs: int) -> "OutputNoise":
        """As a user gives it; 1 if not given.

        Raises:
            KernelError: if it is neither a positive and finite number nor one for each output.
        """
        noise = 1.0 if given is None else given
        return cls(float(noise) if isinstance(noise, Real) else 1.0, noise_of_outputs(noise, outputs))

    @property
    def variance(self) -> float | Tensor:
        """σ², one number or one for each output."""
        return self.scale if self.of_outputs is None else self.scale * self.of_outputs

    def log_density_of_unit(self, n: int) -> float:
        """Added to the log density of n observations in units of each output's noise, it gives that of them."""
        return 0.0 if self.of_outputs is None else -0.5 * n * float(self.of_outputs.log().sum())

    def rescale(self, given: Noise) -> "OutputNoise":
        """The same with another factor.

        Args:
            given: σ², in the form that it was first given in.

        Raises:
            KernelError: if it is not what it was but for a factor.
        """
        if self.of_outputs is None:
            check_hyperparameters(1.0, given)
            return replace(self, scale=float(given))  # type: ignore[arg-type]
        found = noise_of_outputs(given, len(self.of_outputs))
        ratio = self.of_outputs.new_zeros(2) if found is None else found / self.of_outputs
        if not torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-12) or found is None:
            raise KernelError(
                "noise_variance was given for each output, and only a common factor of it can be changed; make "
                f"another LinearizedLaplace with {given!r}"
            )
        return replace(self, scale=float(ratio[0]))
