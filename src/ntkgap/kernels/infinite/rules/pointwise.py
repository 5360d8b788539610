"""Steps that act on every entry alone: Σ ← E[φφ'], Θ ← Θ·E[φ̇φ̇'] (Jacot, Gabriel, Hongler 2018, proposition 1)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ntkgap.errors import KernelError
from ntkgap.kernels.infinite.activations import Activation, quadrature_of
from ntkgap.kernels.infinite.activations.polynomial import Identity
from ntkgap.kernels.infinite.activations.rectifiers import ABReLU
from ntkgap.kernels.infinite.pairs import Moments, Tile, own_positions, with_own_positions
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Operation, State, rule
from ntkgap.kernels.infinite.rules.normalization import learned
from ntkgap.kernels.infinite.signals import Signal
from ntkgap.models.input_checks import ImageInput, TokenInput


@dataclass(frozen=True)
class Pointwise(Operation):
    """A nonlinearity on every field."""

    name: str
    activation: Activation
    positions: int
    scales = "used"
    by_scale: Activation | None = None  # x·φ'(x), where trained scales act on the input
    shared: bool = True

    @property
    def all_activations(self) -> list[Activation]:
        """Those whose errors count."""
        return [self.activation] if self.by_scale is None else [self.activation, self.by_scale]

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Expectations of products under the Gaussians that the fields are."""
        return [self._one(at, pairs, (self.name, i), moments) for i, moments in enumerate(states[0])]

    def _one(self, at: Tile, pairs: bool, key: tuple[str, int], moments: Moments) -> Moments:
        c, ntk = moments
        if at.recording:
            # A copy: a view would keep the pairs of all positions, for every input.
            at.noted[key] = own_positions(c, self.positions).contiguous() if pairs else c
            check_resolved(at.noted[key], self.name)
        nngp, slope = self._expectations(self.activation, at, pairs, key, c, ntk is not None)
        if ntk is not None and slope is not None:
            ntk = slope.mul_(ntk) if at.single else slope * ntk
        out = Moments(nngp, None if slope is None else ntk)
        if self.by_scale is None or not at.with_ntk:
            return out
        squares, _ = self._expectations(self.by_scale, at, pairs, key, c, False)
        return learned(out, squares, pairs and not self.shared, self.positions)

    def _expectations(
        self, activation: Activation, at: Tile, pairs: bool, key: tuple[str, int], c: Tensor, derivative: bool
    ) -> tuple[Tensor, Tensor | None]:
        """E[φφ'] and E[φ̇φ̇'] on a tile, exact where an input meets itself."""
        if not at.recording:
            covariance = activation.rounded_covariance if at.single else activation.covariance
            return covariance(c, *at.recall(key, pairs), derivative)
        q = at.noted[key]
        product, slope = activation.variance(q, derivative)
        if pairs:
            across, slope_across = activation.covariance(c, *at.spread(q, q, pairs), derivative)
            product = with_own_positions(across, product)
            slope = None if slope is None or slope_across is None else with_own_positions(slope_across, slope)
        return product, slope


def check_resolved(q: Tensor, step: str) -> None:
    """Refuse variances that the arithmetic cannot hold.

    Raises:
        KernelError: if one overflows, or is positive but too small to have all its digits.
    """
    smallest = torch.finfo(q.dtype).tiny
    fault = "overflow" if not bool(torch.isfinite(q).all()) else ""
    if not fault and bool(((q > 0) & (q < smallest)).any()):
        fault = "underflow"
    if fault:
        raise KernelError(f"variances {fault} in {q.dtype} at the step {step!r}; scale the inputs or weights")


def pointwise(call: Call, activation: Activation) -> Compiled:
    """Apply a nonlinearity to a Gaussian signal.

    Raises:
        ModelError: if the signal is not Gaussian, as behind another nonlinearity.
    """
    source = call.input
    if not source.signal.gaussian:
        raise call.refusal(
            "is applied to something that is not Gaussian at infinite width: the output of another nonlinearity, "
            "or a sum with one. Put a Linear or convolution in between, write several elementwise steps as one "
            "activation module, or use infinite_width_monte_carlo"
        )
    scales = {f.scales for f in source.signal.fields} - {""}
    if "mixed" in scales or (scales and any(not f.scales for f in source.signal.fields)):
        raise call.refusal(
            "acts on a sum or mean that holds the trained scales of a normalization, whose part of the tangent "
            "kernel is then not known; freeze the scales (requires_grad=False), put the normalization right "
            "before the nonlinearity, or use infinite_width_monte_carlo"
        )
    fields = tuple(replace(f, gaussian=False, zero_mean=activation.odd, scales="") for f in source.signal.fields)
    operation = Pointwise(
        call.name,
        activation,
        len(source.layout.positions),
        slope_times_input(call, activation) if scales else None,
        "own" not in scales,
    )
    return Compiled(operation, [source], Signal(source.layout, fields))


def slope_times_input(call: Call, activation: Activation) -> Activation:
    """ψ(x) = x·φ'(x): the derivative by the scale, at scale 1, of φ(scale·x)."""
    if isinstance(activation, ABReLU | Identity):
        return activation  # of degree one: x·φ'(x) = φ(x)

    def phi(x: Tensor) -> Tensor:
        x = x.clone()  # the step may be one in place
        if call.is_module:
            return call.target(x)
        function = getattr(torch.Tensor, call.target) if isinstance(call.target, str) else call.target
        return function(x, *call.args[1:], **call.kwargs)

    def psi(x: Tensor) -> Tensor:
        # In reverse: forward differentiation counts its levels for the whole process, whatever the thread.
        with torch.enable_grad():
            z = x if x.requires_grad else x.detach().requires_grad_()
            y = phi(z)
            slope = torch.autograd.grad(y.sum(), z, create_graph=x.requires_grad)[0] if y.requires_grad else 0 * x
        return x * slope

    return quadrature_of(psi, f"x·φ'(x) of {activation.name}")


@dataclass(frozen=True)
class Same(Operation):
    """Nothing happens to the kernels."""

    scales = "kept"

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """The state as it is."""
        return states[0]


@rule(
    nn.Identity,
    ImageInput,
    TokenInput,
    "contiguous",
    "clone",
    "to",
    "float",
    "double",
    "type",
    any_batch_axis=True,
)
def identity(call: Call) -> Compiled:
    """Steps without effect on values."""
    if not call.value.is_floating_point():
        raise call.refusal(f"rounds to {call.value.dtype}, whose slope is zero; leave the conversion out")
    return Compiled(Same(), [call.input], call.input.signal)


@rule(
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    F.dropout,
    any_batch_axis=True,
)
def dropout(call: Call) -> Compiled:
    """Dropout does nothing in eval mode."""
    if call.is_module:
        p, training = call.target.p, call.target.training
    else:
        given = call.bind("input", "p", "training", p=0.5, training=True)
        p, training = given["p"], given["training"]
    if training and p > 0:
        raise call.refusal(f"drops units at random in train mode (p={p:g}); call model.eval(), or set p=0")
    return Compiled(Same(), [call.input], call.input.signal)


@dataclass(frozen=True)
class Detached(Operation):
    """Layers before it are not trained through it."""

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """Σ alone."""
        return [Moments(moments.nngp, None) for moments in states[0]]


@rule("detach", torch.detach, any_batch_axis=True)
def detach(call: Call) -> Compiled:
    """Stop the gradient."""
    fields = tuple(replace(f, scales="") for f in call.input.signal.fields)
    return Compiled(Detached(), [call.input], replace(call.input.signal, fields=fields))
