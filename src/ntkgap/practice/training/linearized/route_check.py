"""A route is taken only after it gave what reverse mode gives on the network as it is."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as tree

from ntkgap.errors import DataError, ModelError, NtkgapError
from ntkgap.kernels.empirical.network.refusals import refuse_reentrant_checkpoint
from ntkgap.practice.training.linearized.network_at_start import Evaluation, dot, underneath
from ntkgap.practice.training.linearized.routes import ROUTES, Adjoint, Route, row_by_row

# Relative errors of a gradient, and of one that is nothing but rounding relative to the largest.
_PRECISE = {torch.float64: (1e-8, 1e-12), torch.float32: (1e-4, 1e-5)}
_COARSE = (3e-2, 2e-2)  # 16 bits, or products in TF32


def find_route(evaluation: Evaluation, given: Mapping[str, Tensor]) -> tuple[Route, bool, bool]:
    """The first route whose numbers are those of reverse mode.

    Args:
        evaluation: a call of the network, possibly within transforms of ``torch.func``.
        given: parameters of the user's own network by name, as far as they exist: a network that uses them instead
            of those that it is called with cannot be linearized.

    Returns:
        The route; whether the network writes into tensors that it is given; whether this is so for all inputs of
        the kind, which a derivative that is zero on these does not show.

    Raises:
        DataError: if the inputs are no tensors, or of another dtype or device than the network.
        ModelError: if the network is random, has no finite outputs or no derivatives, or cannot be given
            other parameters.
    """
    grad = torch.is_grad_enabled()
    fault: Exception | str | None = None
    with temporarily_clear_interpreter_stack():
        reference = Reference(evaluation, given)
        for route in ROUTES:
            if reference.cuts and route.product is None:
                continue  # forward mode goes through torch.no_grad, where gradients stop, if only on other inputs
            try:
                with torch.set_grad_enabled(grad):
                    fault = reference.fault(route)
            except Exception as error:  # whatever a network or torch may raise where there is no way through
                fault = error
            if fault is None:
                return route, reference.evaluation.writes, reference.scale > 0
    if isinstance(fault, NtkgapError):
        raise fault
    raise ModelError(
        f"{type(evaluation.network).__name__} gives other numbers from call to call ({fault}), so there is no "
        "expansion of it; make it deterministic"
    ) from (fault if isinstance(fault, Exception) else None)


class Reference:
    """What reverse mode says of a network on one input: f, and Jᵀv for random v.

    Attributes:
        evaluation: the call, outside of all transforms.
        scale: size of the gradients; zero where the outputs do not depend on the parameters.
        cuts: whether the network computes anything under ``torch.no_grad``.
    """

    def __init__(self, evaluation: Evaluation, given: Mapping[str, Tensor]) -> None:
        flags = [torch.is_grad_enabled() and x.requires_grad for x in evaluation.inputs()]
        plain = evaluation.mapped(underneath)
        copies = plain.mapped(torch.clone)
        with torch.enable_grad(), CoarsestType(evaluation.network) as arithmetic:
            leaves = [value.requires_grad_() for value in copies.start]
            outputs = _first_outputs(copies, leaves)
            handed = [*copies.start, *copies.constants.values(), *copies.inputs()]
            self.evaluation = replace(plain, writes=any(tensor._version > 0 for tensor in handed))
            again = self.evaluation.mapped(torch.clone).outputs(*plain.start)
        self.cuts = arithmetic.cuts
        _refuse(outputs, self._name, given)
        self._outputs = outputs.detach()
        self._error, self._noise = max(_precision(dtype, outputs.device) for dtype in arithmetic.seen)
        self._differentiate(Adjoint(outputs, leaves, row_by_row), leaves)
        if not self._agrees(again):
            raise ModelError(
                f"{self._name} gives other outputs from call to call: it draws random numbers in its forward, "
                "so there is no expansion of it; call model.eval(), or fix what it draws"
            )
        self._look_at_inputs(flags)

    @property
    def _name(self) -> str:
        return type(self.evaluation.network).__name__

    def _differentiate(self, adjoint: Adjoint, leaves: list[Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)

        def random(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)

        self._v = [random(self._outputs) for _ in range(2)]
        try:
            self._gradients = [adjoint.transposed(v) for v in self._v]
        except Exception as error:
            raise ModelError(
                f"{self._name} has no derivative with respect to its parameters by reverse mode "
                f"({type(error).__name__}: {error})"
            ) from error
        sizes = [float(g.norm()) for g in self._gradients[0]]
        self.scale = max(sizes)
        # Every parameter counts alike, unless its gradient may be nothing but rounding.
        floors = [max(size, 1e-3 * self.scale) for size in sizes]
        self._w = [random(p.detach()) / (floor or 1.0) for p, floor in zip(leaves, floors, strict=True)]
        self._allowed = [self._error * floor + self._noise * self.scale for floor in floors]
        shares = [allowed / (floor or 1.0) for allowed, floor in zip(self._allowed, floors, strict=True)]
        self._allowed_product = sum(share**2 for share in shares) ** 0.5
        self._response = sum(size * float(p.detach().norm()) for size, p in zip(sizes, leaves, strict=True))

    def _look_at_inputs(self, flags: list[bool]) -> None:
        """∂⟨v, J w⟩/∂x from second derivatives in reverse mode, where there are such."""
        self._inputs: list[Tensor] = []
        self._by_inputs: list[Tensor] | None = None
        if not any(flags):
            return
        flag = iter(flags)
        arguments = tree.tree_map_only(
            Tensor, lambda x: x.detach().requires_grad_(next(flag)), self.evaluation.arguments
        )
        self.evaluation = replace(self.evaluation, arguments=arguments)
        self._inputs = [x for x in self.evaluation.inputs() if x.requires_grad]
        try:
            with torch.enable_grad():
                leaves = [value.detach().requires_grad_() for value in self.evaluation.start]
                adjoint = Adjoint(self.evaluation.outputs(*leaves), leaves, row_by_row)
                self._by_inputs = _gradients(
                    dot(adjoint.transposed(self._v[0], create_graph=True), self._w), self._inputs
                )
        except Exception:  # forward mode may do what double backward cannot
            self._by_inputs = None

    def fault(self, route: Route) -> str | None:
        """What is wrong with a route, if anything."""
        grad = torch.is_grad_enabled()
        w = tuple(direction.clone().requires_grad_(grad) for direction in self._w)
        value, change = route(self.evaluation, w)
        if not self._agrees(value):
            return "the outputs differ"
        for v, gradients in zip(self._v, self._gradients, strict=True):
            off = (torch.sum(v * change.detach()) - dot(gradients, self._w)).abs()
            if not float(off) <= self._allowed_product:
                return "the derivative differs"
        if grad:
            found = _gradients(change, list(w), self._v[0])
            for g, expected, allowed in zip(found, self._gradients[0], self._allowed, strict=True):
                if not float((g - expected).norm()) <= allowed:
                    return "the gradient differs"
        if self._inputs:
            found = _gradients(change, self._inputs, self._v[0])
            for g, expected in zip(found, self._by_inputs or found, strict=True):
                if not float((g - expected).norm()) <= self._error * float(expected.norm()):
                    return "the gradient with respect to the inputs differs"
        return None

    def _agrees(self, outputs: Tensor) -> bool:
        """Whether outputs are those of the first call up to rounding, also where they all but cancel."""
        if outputs.shape != self._outputs.shape or outputs.dtype != self._outputs.dtype:
            return False
        off = float((outputs.detach() - self._outputs).norm())
        return off <= self._error * float(self._outputs.norm()) + self._noise * self._response


class CoarsestType(TorchFunctionMode):
    """Notes the types that a network computes in (some layers use float32 whatever they are given), and cuts."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model
        self.seen: set[torch.dtype] = set()
        self.cuts = self._cut = False

    def __torch_function__(self, func: Callable, _types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:  # torch itself turns gradients off within autograd.Function
            self._cut = not args[0]
        if not torch.is_grad_enabled():
            refuse_reentrant_checkpoint(self._model)
        out = func(*args, **(kwargs or {}))
        floating = [t for t in tree.tree_leaves(out) if isinstance(t, Tensor) and t.is_floating_point()]
        self.cuts |= self._cut and bool(floating)
        self.seen |= {t.dtype for t in floating}
        return out


def _precision(dtype: torch.dtype, device: torch.device) -> tuple[float, float]:
    if dtype == torch.float32 and (device.type == "cuda" or torch.get_float32_matmul_precision() != "highest"):
        return _COARSE
    return _PRECISE.get(dtype, _COARSE)


def _gradients(of: Tensor, by: list[Tensor], v: Tensor | None = None) -> list[Tensor]:
    if not of.requires_grad:
        return [torch.zeros_like(x) for x in by]
    found = torch.autograd.grad(of, by, v, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, by, strict=True)]


def _first_outputs(evaluation: Evaluation, leaves: list[Tensor]) -> Tensor:
    try:
        return evaluation.outputs(*leaves)
    except NtkgapError:
        raise
    except Exception as error:
        name, like, inputs = type(evaluation.network).__name__, evaluation.start[0], evaluation.inputs()
        if not inputs:
            raise DataError(f"the inputs of {name} hold no torch.Tensor ({error}); convert them") from error
        for x in inputs:
            if x.device != like.device:
                raise DataError(
                    f"the inputs are on {x.device}, {name} on {like.device} ({error}); move one of them: x.to(...)"
                ) from error
            if x.is_floating_point() and x.dtype != like.dtype:
                raise DataError(
                    f"the inputs are {x.dtype}, the parameters of {name} {like.dtype} ({error}); convert with "
                    f"x.to({like.dtype})"
                ) from error
        shown = ", ".join(_described(path, x) for path, x in tree.tree_flatten_with_path(evaluation.arguments)[0])
        hint = "; convert with .long()" if "indices" in str(error) else ""
        raise DataError(
            f"{name} does not take these inputs, {shown} ({type(error).__name__}: {error}){hint}"
        ) from error


def _described(path: Any, x: Any) -> str:
    """An argument in words: its name or place, type and shape."""
    name = "".join(map(str, path[1:])).strip("[]'") or "input"
    return f"{name}: {x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else f"{name}: {type(x).__name__}"


def _refuse(outputs: Tensor, name: str, given: Mapping[str, Tensor]) -> None:
    """Refuse outputs that are not finite real numbers, or that hang on parameters which cannot be replaced.

    Raises:
        ModelError: saying which.
    """
    if not outputs.is_floating_point():
        raise ModelError(f"{name} returned {outputs.dtype}; real floating-point outputs are needed, e.g. logits")
    if not torch.isfinite(outputs).all():
        raise ModelError(f"{name} returned NaN or infinite outputs; check the inputs and the parameters")
    own = dict(given)
    held = {id(p): path for path, p in own.items()}
    waiting, seen = [outputs.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        path = held.get(id(getattr(node, "variable", None)))
        if path is not None:
            raise ModelError(
                f"{name} uses {path!r} through a reference of its own (a list or another object that holds the "
                "weight), where its value cannot be replaced; use the attribute"
            )
        waiting.extend(following for following, _ in node.next_functions)
