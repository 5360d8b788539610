"""Products of factored gradients: K[a, i, b, j] += ⟨J[a, i], J'[b, j]⟩, one parameter after the other."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ntkgap.kernels.empirical import layers_at_positions as at_positions
from ntkgap.kernels.empirical.blocks import add_gram
from ntkgap.kernels.empirical.factors import Lookup, Outer, Rows, alike, dense
from ntkgap.kernels.empirical.orders import Extent, cheapest
from ntkgap.kernels.empirical.recipe import shape_of
from ntkgap.kernels.empirical.terms import Term

#: Memory that a contraction may use for intermediate results where no budget is set.
DEFAULT_SCRATCH = 512 * 2**20


def contract(
    kernel_of: Callable[[str], Tensor],
    terms1: dict[str, Term],
    terms2: dict[str, Term],
    symmetric: bool,
    scratch: int = DEFAULT_SCRATCH,
    order: str | None = None,
    fold: bool = False,
) -> None:
    """Add J J'ᵀ to kernels [C, n1, C, n2].

    Args:
        kernel_of: the kernel that a parameter's part is added to, by the parameter's name.
        terms1: factors of J, by parameter.
        terms2: factors of J'.
        symmetric: J' is J; then only what ``blocks.mirror`` does not fill in is computed.
        scratch: bytes for intermediate results.
        order: for layers at several positions, take this order instead of the cheapest.
        fold: sum over the outputs that both factors have in common; kernels are [1, n1, 1, n2].
    """
    families: dict[tuple, tuple[Tensor, Tensor, Tensor, Tensor | float]] = {}
    for name in sorted(terms1.keys() & terms2.keys()):
        kernel, one, two = kernel_of(name), terms1[name], terms2[name]
        if one.part.shape.numel() == 0:
            continue
        if two is not one and not (one.part.same_entries(two.part) and alike(one.factor, two.factor)):
            one, two = one.in_full(), two.in_full()
        elif one.part.copies:
            one, two = one.in_full(), one.in_full() if two is one else two.in_full()
        if fold:
            same = two is one
            one = one.folded()
            two = one if same else two.folded()
        f1, f2 = one.factor, two.factor
        scale = one.part.scale * two.part.scale
        shape = max(shape_of(one), shape_of(two), key=lambda s: s.positions)
        if isinstance(f1, Outer) and isinstance(f2, Outer) and shape.kind == "positions":
            extent = Extent(kernel.shape[0], kernel.shape[1], kernel.shape[3], symmetric, kernel.element_size())
            chosen = order or cheapest(shape, extent).order
            at_positions.ORDERS[chosen](kernel, f1, f2, scale, symmetric, scratch)
        elif isinstance(f1, Lookup) and isinstance(f2, Lookup):
            _add_lookup(kernel, f1, f2, scale, symmetric, scratch)
        else:
            g1, a1 = _single(f1)
            g2, a2 = _single(f2)
            coefficient = scale if a1 is None or a2 is None else scale * (a1 @ a2.mT)
            # Parameters that share a gradient (weight and bias) share one product of gradients.
            key = (id(kernel), g1.data_ptr(), g2.data_ptr(), g1.shape, g2.shape)
            if key in families:
                coefficient = families[key][3] + coefficient
            families[key] = (kernel, g1, g2, coefficient)
    for kernel, g1, g2, coefficient in families.values():
        add_gram(kernel, g1, g2, coefficient, symmetric)


def _single(factor: Rows | Outer | Lookup) -> tuple[Tensor, Tensor | None]:
    """(g, a) with J[c, i] = g[c, i] ⊗ a[i], a = None standing for one."""
    if isinstance(factor, Outer) and factor.sizes[:2] == (1, 1):
        return dense(factor.g)[:, :, 0, 0], dense(factor.a)[:, 0, 0]
    return factor.explicit(), None


def _add_lookup(kernel: Tensor, f1: Lookup, f2: Lookup, scale: float, symmetric: bool, scratch: int) -> None:
    """Gradients of a table, on those of its rows that are looked up, some columns at a time."""
    used = torch.cat([f1.index.flatten(), f2.index.flatten()]).unique()
    classes, n1, _, n2 = kernel.shape
    column = classes * (n1 + n2) * len(used) * kernel.element_size()
    for lo, hi in _ranges(f1.g.shape[-1], max(1, scratch // max(1, column))):
        r1 = Lookup(f1.g[..., lo:hi], f1.index, f1.entries).restricted(used).flatten(2)
        r2 = r1 if symmetric else Lookup(f2.g[..., lo:hi], f2.index, f2.entries).restricted(used).flatten(2)
        add_gram(kernel, r1, r2, scale, symmetric)


def _ranges(size: int, step: int) -> Iterator[tuple[int, int]]:
    for lo in range(0, size, step):
        yield lo, min(lo + step, size)
