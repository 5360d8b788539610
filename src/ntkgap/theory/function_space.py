"""Training of the linearized network, step by step, in its outputs instead of its parameters."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.linalg.rounding import TOLERANCE, change_of_targets, check_solve
from ntkgap.one_line import one_line
from ntkgap.theory.course import Course
from ntkgap.theory.descent import (
    BatchScale,
    DecayTo,
    Descent,
    Minibatches,
    check_steps,
    is_number,
    rate_of_each_step,
)
from ntkgap.theory.kernel_modes import STOP_EARLIER
from ntkgap.theory.output_kernels import OutputKernel
from ntkgap.theory.output_losses import Loss, OutputLoss


@dataclass(frozen=True, eq=False)
class FunctionSpaceTraining:
    r"""What ``train_in_function_space`` found, for initial functions with leading dimensions [...].

    Attributes:
        steps: T steps that were observed.
        losses: the loss on all training examples, divided by ``divisor`` and without weight decay, before each
            step and after the last, [steps + 1, ...].
        outputs: f_t on the training inputs at the observed steps, [T, ..., n, C].
        duals: a_t, which carry them to other inputs, [T, ..., n, C].
        start_factors: c_t, what weight decay to zero has left of θ_0, [T]; otherwise 1.
        kernel: K.
        decays_to_zero: whether weight decay moves θ_0.

    Example:
        >>> gram, start, y = torch.eye(3), torch.zeros(3, 1), torch.ones(3, 1)
        >>> train = ng.theory.train_in_function_space
        >>> training = train(gram, start, y, learning_rate=0.5, steps=2, observe_at=[1, 2])
        >>> training.losses.tolist()
        [1.5, 0.375, 0.09375]
        >>> training.predict(torch.ones(1, 3), torch.zeros(1, 1))[:, 0, 0].tolist()
        [1.5, 2.25]
    """

    steps: tuple[int, ...]
    losses: Tensor
    outputs: Tensor
    duals: Tensor
    start_factors: Tensor
    kernel: OutputKernel
    decays_to_zero: bool

    __repr__ = one_line

    def predict(self, cross_gram: Tensor, initial: Tensor, linear_term: Tensor | None = None) -> Tensor:
        r"""f_t on k new points at the observed steps, [T, ..., k, C].

        .. math:: f_t(x) = f_0(x) + (c_t - 1) J_0(x) \theta_0 + K(x, X) a_t

        Args:
            cross_gram: K(x, X) in the layout of K: [kC, nC], or [k, n] where outputs share it.
            initial: f_0 on the new points, [..., k, C], of the same draws as on the training inputs.
            linear_term: J_0(x)θ_0, of the shape of ``initial``; with weight decay to zero only.

        Raises:
            KernelError: if a shape does not fit, an entry is not finite, or the linear term is missing or unused.
        """
        start = _functions(initial, "the initial function on the new points").to(self.duals)
        draws, outputs = tuple(self.duals.shape[1:-2]), self.kernel.outputs
        if start.shape[:-2] != draws or start.shape[-1] != outputs:
            wanted = ", ".join(map(str, (*draws, "k", outputs)))
            raise KernelError(
                f"the initial function on the new points must have shape ({wanted}), as on the training inputs; "
                f"got {tuple(initial.shape)}"
            )
        cross = self.kernel.cross(cross_gram, start.shape[-2])
        linear = _linear_term(linear_term, start, self.decays_to_zero, "on the new points")
        moved = (self.start_factors - 1).reshape(-1, *[1] * start.ndim) * linear
        return start + moved + cross.times(self.duals)


def train_in_function_space(
    gram: Tensor,
    outputs: Tensor,
    targets: Tensor,
    *,
    learning_rate: float | Sequence[float] | Tensor,
    steps: int,
    loss: Loss = "squared",
    divisor: float = 1.0,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay_to: DecayTo = "zero",
    clip_norm: float | None = None,
    batches: Sequence[Any] | None = None,
    batch_scale: BatchScale | None = None,
    linear_term: Tensor | None = None,
    observe_at: Sequence[int] | None = None,
) -> FunctionSpaceTraining:
    r"""Train as ``torch.optim.SGD`` trains ``linearize(net)``, under any loss, from a kernel alone.

    A linearized network stays at θ_t = c_t θ_0 + J_0ᵀ a_t, so that with K = J_0 J_0ᵀ

    .. math:: f_t = f_0 + (c_t - 1) J_0 \theta_0 + K a_t, \qquad G_t = \partial L / \partial f \text{ at } f_t,

    .. math:: u \leftarrow \mu u + G_t + \lambda a, \quad a \leftarrow a - \eta_t u, \qquad
              w \leftarrow \mu w + \lambda c, \quad c \leftarrow c - \eta_t w

    from c = 1, a = u = w = 0. Without weight decay to zero c stays 1. Outside a minibatch the rows of G are zero.
    At infinite width K is Θ, and f_0 a draw of the initial function (its mean stays the mean of draws under the
    squared loss alone). The steps are those of the linearized model to rounding: discrete, with their
    instabilities. One costs 2(nC)² operations, 2n²C where outputs share the kernel, b/n of that with minibatches;
    all in float64.

    Adam, and clipping of gradients or parameters by value or layer by layer, have no such form, as they ask for
    single parameters: train ``ntkgap.linearize(model)``. ``sgd_settings(optimizer)`` reads what has one from an
    optimizer, and refuses the others. Learning rates that differ by layer, η s_l, have one without weight decay
    and clipping, with K = Σ_l s_l K_l of ``empirical_ntk(..., layerwise=True)``.

    **Losses.** A step descends s·loss(f_B, y_B)/divisor + (λ/2)‖θ − θ_*‖², with B a minibatch of b examples, or
    all n (then s = 1, and ``batch_scale`` is left out):

    ==============================================  ===========  =========  ===========
    to follow                                       loss         divisor    batch_scale
    ==============================================  ===========  =========  ===========
    ``ntkgap.train``                                a name       1          ``"n/b"``
    ``torch.nn.CrossEntropyLoss()``                 a name       n          ``"n/b"``
    ``torch.nn.MSELoss()``                          a name       nC/2       ``"n/b"``
    any loss called on the batch, as it comes       the loss     1          1
    ==============================================  ===========  =========  ===========

    **Weight decay to zero** needs J_0θ_0, the derivative of the outputs along the trained parameters themselves:
    by ``torch.func.jvp``, or from the linearized model, which at 2θ_0 is f_0 + J_0θ_0::

        outputs, linearized = net(x).detach(), ng.linearize(net)
        twice = {name: 2 * p.detach() for name, p in linearized.named_parameters() if p.requires_grad}
        linear_term = torch.func.functional_call(linearized, twice, (x,)).detach() - outputs

    For networks without biases whose L layers are joined by ReLU it is L·f_0, also at infinite width.

    Ten draws of an infinitely wide network, trained on the cross-entropy::

        kernels = ng.infinite_width(net).kernels(x)              # Σ and Θ, [n, n]
        draws = torch.linalg.cholesky(kernels.nngp) @ torch.randn(10, n, C, dtype=torch.float64)
        training = ng.theory.train_in_function_space(
            kernels.ntk, draws, one_hot, loss="cross_entropy", divisor=n, learning_rate=0.5, steps=200
        )
        training.losses                                          # [201, 10]

    Args:
        gram: K of the training examples, [nC, nC] in the layout of ``as_matrix``; or [n, n] where outputs are
            independent and share it.
        outputs: f_0 on the training inputs, [n, C]; or of many initial functions, [..., n, C].
        targets: y, [n, C]; of a callable loss whatever it takes, one entry an example.
        learning_rate: η; or a schedule, one number a step.
        steps: number of updates.
        loss: ``"squared"`` ½‖f − y‖², ``"cross_entropy"`` −Σ y log softmax(f), both summed; or any callable or
            module ``loss(outputs, targets)`` that returns one number, differentiated by autograd. It sees
            one function at a time, in float64.
        divisor: what the loss is divided by.
        momentum: μ, of the heavy ball that ``torch.optim.SGD`` has.
        nesterov: as ``torch.optim.SGD`` has it.
        weight_decay: λ, coupled: part of the gradient, and of the velocity.
        decay_to: θ_*, ``"zero"`` as in torch, or ``"initial"`` parameters.
        clip_norm: largest norm √(GᵀKG) of the loss's gradient over all parameters, clipped as
            ``torch.nn.utils.clip_grad_norm_`` does before each step.
        batches: the examples of each step, a tensor of indices each; all if not given.
        batch_scale: s, what the loss of a minibatch is multiplied with, ``"n/b"`` or a number; required with
            ``batches``.
        linear_term: J_0θ_0 on the training inputs, of the shape of ``outputs``; with weight decay to zero only.
        observe_at: steps at which outputs and duals are kept, ascending; the last one alone if not given.

    Returns:
        Losses at all steps, outputs and duals at those observed. No graph is kept.

    Warns:
        AccuracyWarning: if the rounding of K, in the type it came in, decides what was learned.

    Raises:
        DivergenceError: if outputs or loss leave the finite numbers; fewer steps show how.
        KernelError: if a shape does not fit, an entry or number is out of range, the loss fails, or the matrix is
            no Gram matrix.

    Example:
        >>> train, _ = ng.load_data("digits", n_train=10, n_test=5)
        >>> net = ng.MLP(64, 10, 32, 1).double()
        >>> kernel = ng.as_matrix(ng.empirical_ntk(net, train.x.double()))
        >>> outputs, rate = net(train.x.double()).detach(), 0.1 * ng.theory.critical_learning_rate(kernel)
        >>> training = ng.theory.train_in_function_space(
        ...     kernel, outputs, train.y, loss="cross_entropy", learning_rate=rate, momentum=0.9, steps=30
        ... )
        >>> training.losses.shape
        torch.Size([31])
    """
    steps = check_steps(steps)
    rates = rate_of_each_step(learning_rate, steps)
    if not is_number(divisor) or not 0 < divisor < math.inf:
        raise KernelError(f"divisor must be positive and finite, got {divisor!r}")
    descent = Descent(momentum, nesterov, weight_decay, decay_to, clip_norm)
    asked = _observed(observe_at, steps)
    with torch.inference_mode(False), torch.no_grad():
        start = _functions(outputs, "the initial outputs")
        draws, (n, width) = start.shape[:-2], start.shape[-2:]
        kernel = OutputKernel.of(gram, n, width)
        start = start.reshape(-1, n, width).to(kernel.matrix)
        linear = _linear_term(linear_term, outputs, descent.moves_start, "on the training inputs")
        minibatches = Minibatches(batches, batch_scale, steps, n)
        objective, unit = OutputLoss(loss, targets, start), torch.finfo(gram.dtype).eps
        linear = linear.reshape(-1, n, width).to(start)
        course = Course(kernel, start, linear, objective, float(divisor), descent, unit)
        losses, seen = course.run(rates, minibatches, asked)
        # Rounding E of K moves the outputs by Ea: that counts beside how large they are, or are to be.
        size = torch.maximum(start.abs(), course.outputs().abs()).maximum(objective.size())
        _check_rounding(kernel, course.coordinates[0], size, gram.dtype)
        return FunctionSpaceTraining(
            asked,
            torch.stack(losses).reshape(-1, *draws),
            torch.stack([f for f, _, _ in seen]).reshape(-1, *draws, n, width),
            torch.stack([a for _, a, _ in seen]).reshape(-1, *draws, n, width),
            torch.stack([c for _, _, c in seen]),
            kernel,
            descent.moves_start,
        )


def _observed(observe_at: Sequence[int] | None, steps: int) -> tuple[int, ...]:
    """The steps at which outputs are kept."""
    if observe_at is None:
        return (steps,)
    if isinstance(observe_at, Tensor | np.ndarray):
        observe_at = observe_at.tolist()
    asked = list(observe_at) if isinstance(observe_at, Iterable) else []
    whole = all(isinstance(s, Integral) and not isinstance(s, bool) for s in asked)
    if not asked or not whole or asked != sorted(set(asked)) or asked[0] < 0 or asked[-1] > steps:
        raise KernelError(f"observe_at must be ascending steps between 0 and {steps}, got {observe_at!r}")
    return tuple(int(s) for s in asked)


def _check_rounding(kernel: OutputKernel, duals: Tensor, size: Tensor, precision: torch.dtype) -> None:
    """Warn where it decides outputs of this size, [D, n, C].

    Eigenvalues take longer than some hundred steps: they are sought where the rounding of the type that K came in
    may matter, for what is known without them.
    """
    a, f = kernel.columns(duals), kernel.columns(size)
    floor = len(a) * torch.finfo(precision).eps * float(kernel.matrix.norm())  # ‖K‖_F ≥ κ_max
    if change_of_targets(floor, a, f) > TOLERANCE:
        check_solve(kernel.matrix, a, f, "the Gram matrix", STOP_EARLIER, precision, stacklevel=4)


def _functions(values: Tensor, name: str) -> Tensor:
    """Values of functions [..., n, C] in float64."""
    if not isinstance(values, Tensor) or values.ndim < 2 or values.numel() == 0 or not values.is_floating_point():
        found = (
            f"{values.dtype} of shape {tuple(values.shape)}"
            if isinstance(values, Tensor)
            else type(values).__name__
        )
        raise KernelError(f"{name} must be floating-point numbers of shape (..., n, C), got {found}")
    if not torch.isfinite(values).all():
        raise KernelError(f"NaN or infinite entries in {name}")
    return values.detach().double()


def _linear_term(linear_term: Tensor | None, like: Tensor, needed: bool, where: str) -> Tensor:
    """J_0θ_0 as given, or zeros where nothing is multiplied with it."""
    if not needed:
        if linear_term is not None:
            raise KernelError("linear_term counts for weight decay to zero alone; leave it out")
        return torch.zeros_like(like, dtype=torch.float64)
    if linear_term is None:
        raise KernelError(
            f"weight decay to zero needs linear_term, J_0θ_0 {where}: the derivative of the outputs along the "
            "parameters themselves (torch.func.jvp, or ntkgap.linearize(model) at 2θ_0 less f_0); or let it pull "
            "to decay_to='initial'"
        )
    found = _functions(linear_term, "the linear term")
    if found.shape != like.shape:
        raise KernelError(
            f"linear_term {where} must have the shape of f_0 there, {tuple(like.shape)}, got {tuple(found.shape)}"
        )
    return found.to(like.device)
