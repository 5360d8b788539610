"""Gradients of many outputs, kept as what layers saw and what came back to them: P numbers are never written."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ntkgap.errors import KernelError
from ntkgap.kernels import Jacobian, RepeatedJacobian
from ntkgap.kernels.empirical.collect import Term
from ntkgap.kernels.empirical.factors import Outer, Patches, Rows

# Examples whose gradients are evaluated at a time.
BLOCK = 256

Block = tuple[Tensor, Tensor | None]


class FactoredGradients:
    r"""Gradients g_1 … g_r of single outputs, each the direct sum over parameters of u ⊗ v.

    A dense layer that saw h and got back δ has the gradient δ ⊗ h, so that

    .. math:: \langle g_i, g_j \rangle = \sum_l \langle \delta^l_i, \delta^l_j \rangle \langle h^l_i, h^l_j \rangle

    is exact whatever parameters g_i and g_j were taken at. Factors stay on the network's device; products of them
    are float64 on the CPU, where policies keep what they know. Parameters whose gradient is no single product
    (layers at several positions, rearranged weights) are kept as explicit rows; their v is None.

    Args:
        blocks: parameter -> (u, v) of shapes [r, p] and [r, q], in the parameter's order u ⊗ v; v may be None.
    """

    def __init__(self, blocks: dict[str, Block]) -> None:
        self.blocks = blocks

    @classmethod
    def of(cls, jacobian: Jacobian, rows: Tensor | None = None) -> "FactoredGradients":
        """The gradients of the flattened outputs [n, C] of a Jacobian, all or those with the given indices."""
        if rows is None:
            rows = torch.arange(jacobian.outputs.numel(), device=jacobian.outputs.device)
        return cls({name: _block(term, rows) for name, term in jacobian.terms.items()})

    def __len__(self) -> int:
        """Number of gradients."""
        return len(next(iter(self.blocks.values()))[0]) if self.blocks else 0

    def rows(self, chosen: slice) -> "FactoredGradients":
        """Some of the gradients, without a copy."""
        return FactoredGradients(
            {name: (u[chosen], None if v is None else v[chosen]) for name, (u, v) in self.blocks.items()}
        )

    def products(self, other: "FactoredGradients") -> Tensor:
        """⟨g_i, g'_j⟩, [r, r']."""
        products = torch.zeros(len(self), len(other), dtype=torch.float64)
        for name in self.blocks:  # in this order: that of a set of names differs from process to process
            if name not in other.blocks:
                continue
            (u, v), (w, z) = alike(self.blocks[name], other.blocks[name])
            found = u @ w.mT
            products += (found if v is None or z is None else found.mul_(v @ z.mT)).cpu()
        return products

    def squared_norms(self) -> Tensor:
        """‖g_i‖², [r]."""
        norms = torch.zeros(len(self), dtype=torch.float64)
        for u, v in self.blocks.values():
            norms += (u.square().sum(1) * (1.0 if v is None else v.square().sum(1))).cpu()
        return norms

    def along(self, change: Mapping[str, Tensor]) -> Tensor:
        """⟨g_i, w⟩ for w given by parameter, in the parameters' own shapes: [r]."""
        found = torch.zeros(len(self), dtype=torch.float64)
        for name, (u, v) in self.blocks.items():
            w = change[name].to(u)
            found += (u @ w.flatten() if v is None else ((u @ w.reshape(u.shape[1], -1)) * v).sum(1)).cpu()
        return found

    def squared(self) -> "FactoredGradients":
        """The gradients with every entry squared."""
        return FactoredGradients(
            {name: (u.square(), None if v is None else v.square()) for name, (u, v) in self.blocks.items()}
        )


class GradientHistory:
    """The gradients of the arms that were chosen, in the order of the rounds.

    Memory grows by doubling; a round costs as many numbers as the network's layers have inputs and outputs.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, Block] = {}
        self._size = 0

    @classmethod
    def of(cls, gradients: FactoredGradients) -> "GradientHistory":
        """A history that begins with all of these."""
        history = cls()
        history._blocks, history._size = dict(gradients.blocks), len(gradients)
        return history

    def __len__(self) -> int:
        """Number of gradients."""
        return self._size

    @property
    def gradients(self) -> FactoredGradients:
        """All so far, without a copy."""
        return FactoredGradients(self._blocks).rows(slice(self._size))

    def products(self, queries: FactoredGradients) -> Tensor:
        """⟨g_s, q_k⟩ for the seen gradients and K others: [t, K]."""
        if self._size == 0:
            return torch.zeros(0, len(queries), dtype=torch.float64)
        return self.gradients.products(queries)

    def append(self, gradients: FactoredGradients, row: int) -> None:
        """Keep one of the gradients."""
        if self._size and gradients.blocks.keys() != self._blocks.keys():
            raise KernelError("gradients of another network were seen before; use one history a network")
        for name, (u, v) in gradients.blocks.items():
            mine = self._blocks.get(name, _none_like((u, v)))
            mine, (u, v) = alike(mine, (u[row : row + 1], None if v is None else v[row : row + 1]))
            self._blocks[name] = tuple(  # type: ignore[assignment]  # mypy: a pair stays a pair
                None if kept is None or new is None else _with_row(kept, self._size, new[0])
                for kept, new in zip(mine, (u, v), strict=True)
            )
        self._size += 1


def gradients_at(evaluate: RepeatedJacobian, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, FactoredGradients]:
    """Values f_o(x) [t], on the CPU, and gradients of output o of each example, a block of examples at a time.

    Args:
        evaluate: of the network, at the parameters that are meant.
        inputs: x, [t, D].
        outputs: o, [t].
    """
    values, found = [], []
    for x, o in zip(inputs.split(BLOCK), outputs.split(BLOCK), strict=True):
        jacobian = evaluate(x)
        rows = torch.arange(len(x), device=o.device) * jacobian.outputs.shape[1] + o
        values.append(jacobian.outputs.flatten()[rows].cpu())
        found.append(FactoredGradients.of(jacobian, rows))
    return torch.cat(values), joined(found)


def joined(parts: list[FactoredGradients]) -> FactoredGradients:
    """Gradients of one network, one after the other."""
    blocks: dict[str, Block] = {}
    for name in parts[0].blocks:
        blocks_of = [part.blocks[name] for part in parts]
        if len({v is None for _, v in blocks_of}) > 1:
            blocks_of = [explicit(block) for block in blocks_of]
        v = [z for _, z in blocks_of if z is not None]
        blocks[name] = torch.cat([u for u, _ in blocks_of]), torch.cat(v) if v else None
    return FactoredGradients(blocks)


def alike(one: Block, two: Block) -> tuple[Block, Block]:
    """Both as products, or both as rows."""
    return (one, two) if (one[1] is None) == (two[1] is None) else (explicit(one), explicit(two))


def explicit(block: Block) -> Block:
    """A block as rows, [r, p·q]."""
    u, v = block
    return (u, None) if v is None else ((u[:, :, None] * v[:, None, :]).flatten(1), None)


def _block(term: Term, rows: Tensor) -> Block:
    factor = term.factor
    if isinstance(factor, Outer) and factor.sizes[:2] == (1, 1) and not term.part.moves:
        g, a = factor.g, factor.a
        if not isinstance(g, Patches) and not isinstance(a, Patches):  # [C, n, 1, 1, o] and [n, 1, 1, d]
            u = g.detach()[:, :, 0, 0].transpose(0, 1).flatten(0, 1)[rows]
            v = a.detach()[rows // len(g), 0, 0] * term.part.scale
            return (v, u) if factor.flipped else (u, v)
    return (
        (factor.rows * term.part.scale if isinstance(factor, Rows) and not term.part.moves else term.explicit())
        .detach()
        .transpose(0, 1)
        .flatten(0, 1)[rows],
        None,
    )


def _none_like(block: Block) -> Block:
    u, v = block
    return u.new_zeros(0, u.shape[1]), None if v is None else v.new_zeros(0, v.shape[1])


def _with_row(kept: Tensor, at: int, row: Tensor) -> Tensor:
    if at == len(kept):
        more = kept.new_zeros(max(64, len(kept)), kept.shape[1])
        kept = torch.cat([kept, more])
    kept[at] = row
    return kept
