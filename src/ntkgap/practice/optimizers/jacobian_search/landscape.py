"""‖J(θ₀ + δ) − J(θ₀)‖₂ as a function of the displacement δ, and the direction in which it grows."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import scipy.linalg
import scipy.sparse.linalg
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.jacobian import jacobian_at
from ntkgap.kernels.empirical.network.point import Point
from ntkgap.kernels.empirical.network.selection import ParameterSelection
from ntkgap.kernels.empirical.operator import JacobianChange, NTKOperator
from ntkgap.kernels.empirical.recipe import find_recipe
from ntkgap.kernels.empirical.rules.written_out import WrittenOut
from ntkgap.linalg.matrices import as_matrix
from ntkgap.linalg.symmetric_operator import SymmetricOperator

RELU = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
LEAKY_RELU = {F.leaky_relu, F.leaky_relu_}
ABS = {torch.abs, torch.abs_, torch.absolute, Tensor.abs, Tensor.abs_, Tensor.absolute, Tensor.__abs__}


class RoundedKinks(TorchFunctionMode):
    """While active, max(0, z), leaky ReLUs and |z| are built from the soft ramp τ log(1 + e^{z/τ}).

    Args:
        width: τ, in root mean squares of the z at hand; 0 leaves the functions as they are and only counts.

    Attributes:
        seen: how many functions with a kink were called.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width, self.seen = width, 0

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the functions with a kink, call the others."""
        kwargs = kwargs or {}
        if func not in RELU | LEAKY_RELU | ABS:
            return func(*args, **kwargs)
        self.seen += 1
        z = args[0] if args else kwargs["input"]
        size = float(z.detach().square().mean().sqrt()) * self.width
        if not size > 0:
            return func(*args, **kwargs)
        if func in RELU:
            return _ramp(z, size)
        if func in ABS:
            return _ramp(z, size) + _ramp(-z, size)
        slope = kwargs.get("negative_slope", args[1] if len(args) > 1 else 0.01)
        return slope * z + (1 - slope) * _ramp(z, size)


def _ramp(z: Tensor, size: float) -> Tensor:
    return size * F.softplus(z / size)


# Rows n·C up to which the Gram matrix of ΔJ is formed; above, it is only applied to vectors.
LARGEST_GRAM = 2000


@dataclass(frozen=True)
class Peak:
    """σ = ‖ΔJ‖₂ at one displacement, with the left singular vector u, [n, C]."""

    value: float
    vector: Tensor


class Landscape:
    """The norm of the Jacobian's change around a network's present parameters.

    In memory are the factors of two Jacobians where n·C is at most ``largest_gram`` (above, what
    ``JacobianChange`` needs), and the graph of a double backward pass over all examples.

    Displacements are flat vectors [P] over the selected parameters, in the order of ``named_parameters``.

    Attributes:
        names: of the selected parameters.
        size: P.
        evaluations: Jacobians evaluated so far.
        gradients: gradients taken so far.
        kinks: whether the network calls functions with a kink that ``RoundedKinks`` knows.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, parameters: ParameterSelection, largest_gram: int = LARGEST_GRAM
    ) -> None:
        self.model, self._origin = model, Point(model, parameters)
        self.names = list(self._origin.leaves)
        self._shapes = [leaf.shape for leaf in self._origin.leaves.values()]
        self._start = torch.cat([leaf.detach().flatten() for leaf in self._origin.leaves.values()])
        self.size = self._start.numel()
        self.x = self._origin.inputs(x)
        self.evaluations = self.gradients = 0
        with torch.no_grad(), RoundedKinks(0.0) as counter:
            outputs = self._origin(self.x)
        self.kinks = counter.seen > 0
        self.outputs_shape = outputs.shape
        self._formed = outputs.numel() <= largest_gram
        self._recipe = find_recipe(self._origin, self.x)
        self._at_origin = jacobian_at(self._origin, self.x, self._recipe) if self._formed else None

    def parameters(self, displacement: Tensor) -> dict[str, Tensor]:
        """θ₀ + δ, by name."""
        parts = (self._start + displacement).split([shape.numel() for shape in self._shapes])
        return {n: p.view(shape) for n, p, shape in zip(self.names, parts, self._shapes, strict=True)}

    def displacement(self, values: Tensor | Mapping[str, Tensor], name: str) -> Tensor:
        """δ of a parameter vector, or of parameters by name (a state dict).

        Raises:
            KernelError: if a value is missing, of the wrong shape, or not of the selected parameters but changed.
        """
        if isinstance(values, Tensor):
            if values.numel() != self.size:
                raise KernelError(f"{name} has {values.numel()} entries, the selected parameters {self.size}")
            return (values.detach().flatten().to(self._start) - self._start).clone()
        own = dict(self.model.state_dict())
        for key, value in values.items():
            if key not in self.names and key in own and not torch.equal(own[key], value.to(own[key])):
                raise KernelError(
                    f"{name} differs from the model in {key!r}, which is not searched over; select it with "
                    "parameters=, or give the model the same value"
                )
        for key, shape in zip(self.names, self._shapes, strict=True):
            if key not in values or values[key].shape != shape:
                got = tuple(values[key].shape) if key in values else "nothing"
                raise KernelError(f"{name}: parameter {key!r} needs a value of shape {tuple(shape)}, got {got}")
        flat = torch.cat([values[key].detach().flatten().to(self._start) for key in self.names])
        return flat - self._start

    def peak(self, displacement: Tensor) -> Peak:
        """Largest singular value of ΔJ and its left vector; −∞ where the network overflows."""
        self.evaluations += 1
        values = self.parameters(displacement)
        point = Point(self.model, self.names, values=values)
        with torch.no_grad():
            finite = bool(torch.isfinite(point(self.x)).all())
        if not finite:
            return Peak(-torch.inf, self._start.new_zeros(self.outputs_shape))
        if self._at_origin is None:
            # ΔJ and −ΔJ have the same norm: the network stays at θ₀, the reference is what moved.
            operator = JacobianChange(self.model, values, self.x, parameters=self.names)
            square, vector = self._top_of(operator)
        else:
            gram = as_matrix((jacobian_at(point, self.x, self._recipe) - self._at_origin).gram())
            if not torch.isfinite(gram).all():
                return Peak(-torch.inf, self._start.new_zeros(self.outputs_shape))
            square, vector = self._top(gram)
        return Peak(max(square, 0.0) ** 0.5, vector)

    def like(self, flat: Tensor) -> Tensor:
        """A flat vector in the type and on the device of the parameters."""
        return flat.to(self._start)

    def top_output(self) -> Tensor:
        """The eigenvector of K(θ₀) = J₀J₀ᵀ with the largest eigenvalue, [n, C]."""
        if self._at_origin is None:
            return self._top_of(NTKOperator(self.model, self.x, parameters=self.names))[1]
        return self._top(as_matrix(self._at_origin.gram()))[1]

    def pullback(self, u: Tensor) -> Tensor:
        """J(θ₀)ᵀu, [P]."""
        return self._flat(self._backward(self._origin, u))

    def gradient(self, displacement: Tensor, u: Tensor, smoothing: float | None) -> Tensor:
        """Gradient of uᵀJ(θ)v at fixed u and v = ΔJᵀu, [P]: that of σ²/2 where σ is simple and J smooth.

        Args:
            displacement: δ.
            u: left singular vector of ΔJ, [n, C].
            smoothing: width of the kinks in the network that is differentiated, or None for the network itself.
        """
        self.gradients += 1
        point = Point(self.model, self.names, values=self.parameters(displacement))
        at_origin = self._backward(self._origin, u)
        exact = self._backward(point, u)
        v = [None if a is None else (a - b if b is not None else a) for a, b in zip(exact, at_origin, strict=True)]
        leaves = list(point.leaves.values())
        rounded = nullcontext() if smoothing is None else RoundedKinks(smoothing)
        # Fused functions have no second derivative; written out, they have.
        with torch.enable_grad(), WrittenOut(), rounded:
            outputs = point(self.x)
            grads = torch.autograd.grad(outputs, leaves, u, create_graph=True, allow_unused=True)
            pairs = [(g, w) for g, w in zip(grads, v, strict=True) if g is not None and g.requires_grad]
            if not pairs:  # linear in its parameters
                return torch.zeros_like(self._start)
            slopes = torch.autograd.grad([g for g, _ in pairs], leaves, [w for _, w in pairs], allow_unused=True)
        return self._flat(slopes)

    def _top(self, gram: Tensor) -> tuple[float, Tensor]:
        last = len(gram) - 1
        values, vectors = scipy.linalg.eigh(gram.double().cpu().numpy(), subset_by_index=[last, last])
        return float(values[0]), self.like(torch.from_numpy(vectors[:, 0])).view(self.outputs_shape)

    def _top_of(self, operator: SymmetricOperator) -> tuple[float, Tensor]:
        # From a fixed start: SciPy's own is random, and the search would not be reproducible.
        start = torch.randn(operator.shape[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        values, vectors = scipy.sparse.linalg.eigsh(
            operator.to_scipy(), k=1, which="LA", tol=1e-6, v0=start.numpy()
        )
        return float(values[0]), self.like(torch.from_numpy(vectors[:, 0])).view(self.outputs_shape)

    def _backward(self, point: Point, u: Tensor) -> tuple[Tensor | None, ...]:
        with torch.enable_grad():
            outputs = point(self.x)
        return torch.autograd.grad(outputs, list(point.leaves.values()), u, allow_unused=True)

    def _flat(self, parts: tuple[Tensor | None, ...]) -> Tensor:
        filled = [
            self._start.new_zeros(shape) if part is None else part.detach()
            for part, shape in zip(parts, self._shapes, strict=True)
        ]
        return torch.cat([part.flatten() for part in filled])
