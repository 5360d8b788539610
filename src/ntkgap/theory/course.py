"""The course of training in function space: one product with the kernel a step."""

import torch
from torch import Tensor

from ntkgap.errors import DivergenceError, KernelError
from ntkgap.theory.descent import Descent, Minibatches
from ntkgap.theory.output_kernels import OutputKernel
from ntkgap.theory.output_losses import OutputLoss


class Course:
    """Functions [D, n, C] while they are trained.

    Args:
        kernel: K.
        start: f_0, [D, n, C].
        linear: J_0θ_0, [D, n, C]; counts only where the descent moves θ_0.
        loss: on the outputs.
        divisor: of the loss.
        descent: the update.
        unit: ε of the type that K came in.

    Attributes:
        coordinates: a and Ka, [2, D, n, C]: both obey the same linear rule, so that a step takes one product with
            K.
        start_factor: c.
    """

    def __init__(
        self,
        kernel: OutputKernel,
        start: Tensor,
        linear: Tensor,
        loss: OutputLoss,
        divisor: float,
        descent: Descent,
        unit: float,
    ) -> None:
        self.kernel, self.start, self.linear = kernel, start, linear
        self.loss, self.divisor, self.descent = loss, divisor, descent
        self.coordinates = start.new_zeros(2, *start.shape)
        self.velocity = torch.zeros_like(self.coordinates)
        self.start_factor, self.start_velocity = start.new_ones(()), start.new_zeros(())
        # Of unit G, rounding makes GᵀKG this negative and no more.
        self.rounding = 100 * unit * len(kernel.matrix) * float(kernel.matrix.norm())

    def outputs(self) -> Tensor:
        """f_0 + (c − 1)J_0θ_0 + Ka, [D, n, C]."""
        return self.start + (self.start_factor - 1) * self.linear + self.coordinates[1]

    def run(
        self, rates: list[float], minibatches: Minibatches, asked: tuple[int, ...]
    ) -> tuple[list[Tensor], list[tuple[Tensor, Tensor, Tensor]]]:
        """Losses [D] at every step; f, a and c at those asked."""
        losses, seen, wanted = [], [], set(asked)
        for step in range(len(rates) + 1):
            f = self.outputs()
            losses.append(self.loss.values(f) / self.divisor)
            self.check_finite(step, f.sum(dim=(1, 2)) + losses[-1])
            if step in wanted:
                seen.append((f, self.coordinates[0].clone(), self.start_factor.clone()))
            if step < len(rates):
                self.step(f, *minibatches.of(step), rates[step], step)
        return losses, seen

    def step(self, f: Tensor, rows: Tensor | slice, scale: float, rate: float, step: int) -> None:
        """One update along the gradient of the loss on some rows."""
        gradient = self.loss.gradients(f, rows) * (scale / self.divisor)
        reached = self.kernel.times(gradient, rows)
        square = (gradient * reached[:, rows]).sum(dim=(1, 2))  # GᵀKG = ‖J_0ᵀG‖², [D]
        self.check_finite(step, square)
        if (square < -self.rounding * gradient.square().sum(dim=(1, 2))).any():
            raise KernelError(
                f"the Gram matrix gives a gradient of negative square norm at step {step}; that of a kernel is "
                "positive semidefinite. If it was computed in a coarser type and cast, compute it in float64"
            )
        along = torch.zeros_like(self.coordinates)
        if isinstance(rows, slice):
            along[0] = gradient
        else:
            along[0].index_add_(1, rows.to(gradient.device), gradient)  # examples may be there twice
        along[1] = reached
        if self.descent.clip_norm is not None:
            # The 1e-6 is torch's.
            along *= (self.descent.clip_norm / (square.clamp_min(0).sqrt() + 1e-6)).clamp_max(1)[:, None, None]
        self.descent.step(self.coordinates, self.velocity, along, rate)
        if self.descent.moves_start:
            nothing = torch.zeros_like(self.start_factor)
            self.descent.step(self.start_factor, self.start_velocity, nothing, rate)

    def check_finite(self, step: int, numbers: Tensor) -> None:
        """Refuse to go on with functions [D] that have diverged.

        Raises:
            DivergenceError: naming the step and the first such function.
        """
        bad = ~torch.isfinite(numbers)
        if not bad.any():
            return
        which = f" (initial function {int(bad.nonzero()[0])})" if len(numbers) > 1 else ""
        if step == 0:
            raise KernelError(f"the loss or its gradient is not finite on the initial outputs{which}")
        raise DivergenceError(
            f"training in function space has left the finite numbers at step {step}{which}; lower learning_rate "
            "(for the squared loss it must be below critical_learning_rate(gram, divisor=…, momentum=…)), or ask "
            f"for fewer than {step} steps to see how"
        )
