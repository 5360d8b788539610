"""Empirical kernels that can be differentiated themselves: for inducing points, and searches over networks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from ntkgap.errors import KernelError
from ntkgap.kernels.empirical.network.inputs import Inputs
from ntkgap.kernels.empirical.network.point import Point, check_finite
from ntkgap.kernels.empirical.network.selection import ParameterSelection, select_parameters
from ntkgap.kernels.empirical.recipe import find_recipe
from ntkgap.kernels.neutral import neutral
from ntkgap.models.substitution import unwrapped


@neutral()
def differentiable_kernel(
    model: nn.Module, x1: Any, x2: Any, outputs: str, selection: ParameterSelection, dtype: torch.dtype | None
) -> Tensor:
    """The empirical kernel with its graph, from Jacobians that are written out.

    Gradients reach the inputs, and the parameters that require grad. Costs n·C·P numbers, several times over.
    """
    point = Point(model, selection, dtype)
    find_recipe(point, x1)  # refuses what has no per-example Jacobian
    for name, x in (("x1", x1), ("x2", x2)):
        if x is not None:
            check_finite(point.values(point.inputs(x, name)), point.model)
    network = _Network(point, select_parameters(unwrapped(model), selection), outputs)
    first = network.rows(x1, "x1")
    second = first if x2 is None or x2 is x1 else network.rows(x2, "x2")
    if outputs == "full":
        return torch.einsum("iap,jbp->ijab", first, second)
    if outputs == "diagonal":
        return torch.einsum("iap,jap->ija", first, second)
    return torch.einsum("iap,jap->ij", first, second) / (first.shape[1] if outputs == "mean" else 1)


@neutral()
def differentiable_jacobian(model: nn.Module, x: Any, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Outputs f(x; θ), [n, C], and their Jacobian written out, [n, C, P], with their graphs: gradients reach x.

    Args:
        model: as for :func:`jacobian`; all parameters that require grad, in their order.
        x: inputs that may require grad.
        dtype: precision to compute in; by default the model's own.

    Raises:
        ModelError, DataError: as :func:`jacobian` does.
    """
    point = Point(model, None, dtype)
    find_recipe(point, point.inputs(x))
    check_finite(point.values(point.inputs(x)), point.model)
    network = _Network(point, select_parameters(unwrapped(model)), "full")
    return network.outputs(x), network.rows(x, "x")


class _Network:
    """f(·; θ) with θ still attached to the model's own parameters."""

    def __init__(self, point: Point, selected: dict[str, Tensor], outputs: str) -> None:
        self._point, self._sum = point, outputs == "sum"
        self._parameters = {name: p.to(point.float_dtype) for name, p in selected.items()}

    def outputs(self, x: Any) -> Tensor:
        """f(x; θ), [n, C]."""
        with torch.enable_grad():
            return self._point(self._attached(x, "x"), self._parameters)

    def _attached(self, x: Any, name: str) -> Inputs:
        checked, dtype = self._point.inputs(x, name), self._point.float_dtype
        attached = Inputs.of(x, name, self._point.order).of_length(len(checked))
        return attached.map(lambda t, _: t.to(dtype) if t.is_floating_point() else t)

    def rows(self, x: Any, name: str) -> Tensor:
        """The Jacobian, [n, C, P]."""
        attached = self._attached(x, name)

        def one(parameters: dict[str, Tensor], own: list[Tensor]) -> Tensor:
            return self._call(parameters, attached.with_leaves([leaf[None] for leaf in own], 1))

        with torch.enable_grad():
            try:
                blocks = vmap(jacrev(one), (None, 0))(self._parameters, attached.own_leaves())
            except RuntimeError:  # something that torch.func cannot follow
                return self._one_by_one(attached)
            return torch.cat([block.flatten(2) for block in blocks.values()], 2)

    def _call(self, parameters: dict[str, Tensor], one: Inputs) -> Tensor:
        outputs = self._point(one, parameters)[0]
        return outputs.sum(0, keepdim=True) / len(outputs) ** 0.5 if self._sum else outputs

    def _one_by_one(self, x: Inputs) -> Tensor:
        leaves, rows = list(self._parameters.values()), []
        for i in range(len(x)):
            for output in self._call(self._parameters, x[i : i + 1]):
                try:
                    grads = torch.autograd.grad(output, leaves, create_graph=True, allow_unused=True)
                except RuntimeError as error:
                    raise KernelError(
                        f"the kernel of {type(self._point.model).__name__} cannot be differentiated: {error}"
                    ) from error
                filled = [torch.zeros_like(p) if g is None else g for g, p in zip(grads, leaves, strict=True)]
                rows.append(torch.cat([g.flatten() for g in filled]))
        return torch.stack(rows).view(len(x), -1, rows[0].numel())
