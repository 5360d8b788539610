"""Positions mixed by a constant matrix, h ← A h, as in networks on a graph: Σ ← A Σ Aᵀ, Θ ← A Θ Aᵀ.

Source: Du et al. 2019, *Graph neural tangent kernel*, for sums over neighbors.
"""

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ntkgap.kernels.infinite.pairs import Tile
from ntkgap.kernels.infinite.rules.base import Call, Compiled, Data, Operation, Random, State, rule
from ntkgap.kernels.infinite.rules.dense import dense_of
from ntkgap.kernels.infinite.rules.position_maps import mapped, unfolded
from ntkgap.kernels.infinite.rules.shapes import permuted


@dataclass(frozen=True)
class Chain(Operation):
    """Several operations, one after the other, as one step."""

    operations: tuple[Operation, ...]

    def wants_position_pairs(self, wanted: bool) -> bool:
        """Whether the first needs them for what the last must hold."""
        for operation in reversed(self.operations):
            wanted = operation.wants_position_pairs(wanted)
        return wanted

    def __call__(self, at: Tile, pairs: bool, *states: State) -> State:
        """The first takes the inputs, the others what the one before gives."""
        state = self.operations[0](at, pairs, *states)
        for operation in self.operations[1:]:
            state = operation(at, pairs, state)
        return state


@rule(
    *(operator.matmul, torch.matmul, torch.mm, torch.bmm, torch.sparse.mm),
    *("matmul", "mm", "bmm", "__matmul__", "__rmatmul__"),
    any_batch_axis=True,
    layer=True,
)
def matrix_product(call: Call) -> Compiled:
    """A @ h mixes the axis before the last, h @ A the last one; h @ W is a dense layer if W is its weights."""
    names = ("input", "mat1", "other", "mat2")
    first, second = (*call.args, *(call.kwargs[name] for name in names if name in call.kwargs))
    if call.target == "__rmatmul__":
        first, second = second, first
    weight, transposed = _weight_behind(call, second)
    if weight is not None and _runs_over_channels(first):
        return dense_of(call, first, weight, None, transposed)
    if isinstance(first, Random):
        matrix = constant_matrix(call, second)
        rows = matrix.mT if second.ndim > 1 else matrix
        return _mixed(call, first, {first.value.ndim - 1: rows}, kept=second.ndim > 1)
    if not isinstance(second, Random):
        raise call.refusal("multiplies matrices of which none is a random signal")
    matrix = constant_matrix(call, first)
    if first.ndim > second.value.ndim:
        raise call.refusal(f"adds axes to the signal by a matrix of shape {tuple(first.shape)}; give it two axes")
    return _mixed(call, second, {max(0, second.value.ndim - 2): matrix}, kept=first.ndim > 1)


def _weight_behind(call: Call, factor: object) -> tuple[Tensor | None, bool]:
    """The parameter W of h @ W, or of h @ W.T, and whether its first axis is that of the inputs."""
    if not isinstance(factor, Tensor):
        return None, False
    if id(factor) in call.names:
        return factor, True
    base = factor._base
    turned = (
        base is not None and base.ndim == 2 and factor.shape == base.T.shape and factor.stride() == base.T.stride()
    )
    return (base, False) if turned and id(base) in call.names else (None, False)


def _runs_over_channels(factor: object) -> bool:
    """Whether the last axis of a factor holds channels."""
    if isinstance(factor, Random):
        return factor.layout.channel_axis == factor.value.ndim - 1
    return isinstance(factor, Data)


def constant_matrix(call: Call, value: object) -> Tensor:
    """A matrix that is the same for all inputs; a vector [in] is the only row of one, [1, in].

    Raises:
        ModelError: if it is random, trained, a function of the input, or more than one.
    """
    if isinstance(value, Random):
        raise call.refusal(
            "multiplies two random signals as matrices, as the scores of attention do, which has no limit here; "
            "use infinite_width_monte_carlo for an estimate"
        )
    if isinstance(value, Data):
        raise call.refusal(
            "mixes positions by a matrix that depends on the input (a graph or mask of every example's own); "
            "only one that is the same for all inputs is followed. Keep it in a buffer, or use "
            "infinite_width_monte_carlo for an estimate"
        )
    if not isinstance(value, Tensor) or value.requires_grad:
        raise call.refusal(
            "mixes positions by a trained matrix: with finitely many positions its kernel stays random at any "
            "width. Freeze it (requires_grad=False), which keeps it as it is, or use infinite_width_monte_carlo"
        )
    matrix = value.detach().to_dense() if value.layout != torch.strided else value.detach()
    while matrix.ndim > 2 and len(matrix) == 1:
        matrix = matrix[0]
    if matrix.ndim > 2 or matrix.is_complex():
        raise call.refusal(
            f"mixes positions by a tensor of shape {tuple(value.shape)} and type {value.dtype}; only one real "
            "matrix for all inputs is followed"
        )
    return (matrix if matrix.ndim == 2 else matrix[None]).double()


def _mixed(call: Call, source: Random, matrices: dict[int, Tensor], kept: bool) -> Compiled:
    layout = source.layout
    for axis in matrices:
        if axis == layout.channel_axis:
            raise call.refusal(
                "multiplies the channels by a constant matrix; channels are combined by layers with weights drawn "
                "at random, positions by constant matrices"
            )
        if axis == layout.batch_axis:
            raise call.refusal(
                "mixes the examples of a batch: what it makes of one depends on the others. Nodes of a graph need "
                "an axis of their own, [n, nodes, features]"
            )
    return mapped(call, unfolded(call, source), matrices, kept)


@rule(torch.einsum, any_batch_axis=True)
def einsum(call: Call) -> Compiled:
    """A product of one signal with constant matrices, each of which replaces one position by another."""
    equation, *operands = call.args
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = list(operands[0])
    inputs, output = _labels(call, str(equation), operands)
    at = [i for i, operand in enumerate(operands) if isinstance(operand, Random)]
    if len(at) != 1:
        raise call.refusal(
            "multiplies several random signals, or none; only constant matrices times one are followed"
        )
    source, labels = operands[at[0]], list(inputs[at[0]])
    matrices: dict[int, Tensor] = {}
    for i, operand in enumerate(operands):
        if i == at[0]:
            continue
        names, matrix = inputs[i], constant_matrix(call, operand)
        met, new = [n for n in names if n in labels], [n for n in names if n not in labels]
        axis = labels.index(met[0]) if met else -1
        if len(names) != 2 or len(met) != 1 or met[0] in output or new[0] not in output or axis in matrices:
            raise call.refusal(
                f"combines {names!r} with {''.join(labels)!r}; only matrices that replace one index of the signal "
                "by another are followed, one for each"
            )
        matrices[axis] = matrix if names.index(met[0]) == 1 else matrix.mT
        labels[axis] = new[0]
    if sorted(labels) != sorted(output) or len(set(labels)) < len(labels):
        raise call.refusal("sums or repeats indices that no matrix replaces; sum over positions with .sum(dim)")
    mixing = _mixed(call, source, matrices, kept=True)
    order = [labels.index(name) for name in output]
    if order == sorted(order):
        return mixing
    turned = permuted(Random(call.name, mixing.signal, source.value), order)
    return Compiled(Chain((mixing.operation, turned.operation)), [source], turned.signal)


def _labels(call: Call, equation: str, operands: list[Any]) -> tuple[list[str], str]:
    """Indices of the operands and of the result, one letter an axis."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow or len(inputs) != len(operands):
        raise call.refusal(f"has the equation {equation!r}; write out what the result is, with '->'")
    free = [c for c in "abcdefghijklmnopqrstuvwxyz" if c not in equation]
    widths = [
        o.value.ndim - len(t.replace("...", "")) if "..." in t else 0
        for o, t in zip(operands, inputs, strict=True)
        if isinstance(o, Random)
    ]
    rest = "".join(free[: max([0, *widths])])  # the axes that "..." stands for, the signal's own
    return [t.replace("...", rest) for t in inputs], output.replace("...", rest)
