"""Products of factored gradients: K[a, i, b, j] += ⟨J[a, i], J'[b, j]⟩, one parameter after the other."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from ntkgap.kernels.empirical.collect import Term
from ntkgap.kernels.empirical.factors import Lookup, Outer, Patches, Rows, alike, columns, dense, examples
from ntkgap.kernels.empirical.plan import DEFAULT_SCRATCH, Extent, cheapest
from ntkgap.kernels.empirical.recipe import shape_of


def row_blocks(classes: int, n: int) -> list[tuple[slice, slice]]:
    """Blocks of rows (c, i) of a [C·n, C·n] matrix, of whole classes or within the only one.

    Many blocks compute little more than half of the matrix, few make long products: 64 to 128 rows do both.
    """
    if classes == 1:
        step = max(64, -(-n // 8))
        return [(slice(0, 1), slice(i, min(i + step, n))) for i in range(0, n, step)]
    step = max(1, min(max(classes * n // 5, 64), 128) // n)
    return [(slice(c, min(c + step, classes)), slice(0, n)) for c in range(0, classes, step)]


def add_gram(kernel: Tensor, g1: Tensor, g2: Tensor, coefficient: Tensor | float, symmetric: bool) -> None:
    """kernel[a, i, b, j] += coefficient[i, j] · ⟨g1[a, i], g2[b, j]⟩.

    Args:
        kernel: [C, n1, C, n2].
        g1: [C, n1, p].
        g2: [C, n2, p].
        coefficient: [n1, n2], or one number.
        symmetric: each block of rows is computed from its own columns on; see :func:`mirror`.
    """
    g1, g2 = _once(g1), _once(g2)
    if g1.stride(1) == 0 and g2.stride(1) == 0:
        _add_same_for_all(kernel, g1[:, 0], g2[:, 0], coefficient)
        return
    classes, n = g1.shape[:2]
    for c, i in row_blocks(classes, n):
        from_c, from_i = (slice(c.start, None), slice(i.start, None)) if symmetric else (slice(None), slice(None))
        rows, columns = g1[c, i], g2[from_c, from_i]
        target = kernel[c, i, from_c, from_i]
        gram = (rows.flatten(0, 1) @ columns.flatten(0, 1).mT).view(target.shape)
        _multiply_add(target, gram, coefficient[i, from_i] if isinstance(coefficient, Tensor) else coefficient)


def mirror(kernel: Tensor) -> None:
    """Fill the part of a symmetric kernel [C, n, C, n] that is below the diagonal from that above.

    The kernel is then symmetric to the last bit: within a block, sums over many parameters are rounded in another
    order on either side of the diagonal.
    """
    classes, n = kernel.shape[:2]
    for c, i in row_blocks(classes, n):
        block = kernel[c, i, c, i]
        square = block.reshape(block.shape[0] * block.shape[1], -1)
        block.copy_((square.triu() + square.triu(1).mT).view(block.shape))
        if classes > 1:
            kernel[c.stop :, :, c] = kernel[c, :, c.stop :].permute(2, 3, 0, 1)
        else:
            kernel[0, i.stop :, 0, i] = kernel[0, i, 0, i.stop :].mT


def _once(g: Tensor) -> Tensor:
    """The same, with stride 0 along the examples if all have the same gradient (a readout's outputs)."""
    if g.shape[1] > 1 and g.stride(1) != 0 and torch.equal(g[:, 0], g[:, 1]) and bool((g == g[:, :1]).all()):
        return g[:, :1].expand_as(g)
    return g


def _add_same_for_all(kernel: Tensor, g1: Tensor, g2: Tensor, coefficient: Tensor | float) -> None:
    """One product of outputs [C, C] for all pairs of examples; for a readout all but its diagonal is zero."""
    product = g1 @ g2.mT
    if len(product) == product.shape[1] and not (product - product.diagonal().diag()).any():
        for c, value in enumerate(product.diagonal().tolist()):
            kernel[c, :, c].add_(coefficient * value)
    elif isinstance(coefficient, Tensor):
        kernel.addcmul_(product[:, None, :, None], coefficient[None, :, None, :])
    else:
        kernel.add_(product[:, None, :, None], alpha=coefficient)


def _multiply_add(kernel: Tensor, gram: Tensor, coefficient: Tensor | float) -> None:
    if isinstance(coefficient, Tensor):
        kernel.addcmul_(gram, coefficient[:, None, :])
    else:
        kernel.add_(gram, alpha=coefficient)


#: Intermediate results at a time, in bytes: few enough to be near the processor and to be taken from memory
#: that the allocator keeps (it hands out more than 32 MiB afresh, page by page), enough for long products.
CHUNK = 24 * 2**20

#: Multiplications an output below which a product of its own does not pay.
SMALL = 2_000_000


def by_gradients(kernel: Tensor, f1: Outer, f2: Outer, scale: float, symmetric: bool, scratch: int) -> None:
    """Σ_s g_s ⊗ a_s for every example and output, some entries at a time, then their Gram matrix."""
    classes, n1, _, n2 = kernel.shape
    k, s, o, d = f1.sizes
    size = kernel.element_size()
    room = max(1, scratch // 2 // size // (n1 if symmetric else n1 + n2) // k)  # numbers an example
    # All output features and as many input features as there is room for: long products are fast ones.
    entries = max(1, min(room, CHUNK // size // n1 // k) // classes)
    into = max(1, min(d, room // s, max(64, entries // o)))
    if isinstance(f1.a, Patches):
        area = math.prod(f1.a.window)
        into = min(d, max(1, into // area) * area)  # whole channels: cut ones would be laid out twice
    out = min(o, max(1, entries // into))
    rows = kernel.new_empty(classes * n1 * k * out * into)  # used again and again
    for lo, hi in _ranges(d, into):
        a1 = columns(f1.a, lo, hi)
        a2 = a1 if symmetric else columns(f2.a, lo, hi)
        for o_lo, o_hi in _ranges(o, out):
            r1 = _gradients(f1.g, a1, o_lo, o_hi, rows)
            r2 = r1 if symmetric else _gradients(f2.g, a2, o_lo, o_hi)
            add_gram(kernel, r1, r2, scale, symmetric)


def _gradients(g: Tensor | Patches, a: Tensor, lo: int, hi: int, buffer: Tensor | None = None) -> Tensor:
    """[C, n, k, S, o] and [n, k, S, d] -> [C, n, k·(hi − lo)·d], in the buffer if there is one."""
    classes, n, k, s, _ = g.shape
    o, a = hi - lo, a.flatten(0, 1)
    if isinstance(g, Tensor) and n * k * s * o * a.shape[-1] < SMALL and g.numel() < SMALL:
        beside = g[..., lo:hi].permute(1, 2, 3, 0, 4).flatten(0, 1).flatten(2)  # [n·k, S, C·o]
        return (a.mT @ beside).view(n, k, -1, classes, o).permute(3, 0, 1, 4, 2).flatten(2)
    shape = (classes, n * k, o, a.shape[-1])
    rows = a.new_empty(shape) if buffer is None else buffer[: math.prod(shape)].view(shape)
    for row, of_class in zip(rows, _by_class(g), strict=True):  # patches are laid out one class at a time
        torch.bmm(columns(of_class, lo, hi).flatten(0, 1).mT, a, out=row)
    return rows.view(classes, n, -1)


def _by_class(g: Tensor | Patches) -> Iterator[Tensor | Patches]:
    return (replace(g, x=x) for x in g.x) if isinstance(g, Patches) else iter(g)


def by_positions(kernel: Tensor, f1: Outer, f2: Outer, scale: float, symmetric: bool, scratch: int) -> None:
    """Gram matrices of patches and gradients at all pairs of positions, multiplied and summed."""
    classes, n1, _, n2 = kernel.shape
    k, s1, _, _ = f1.sizes
    s2 = f2.sizes[1]
    room = scratch // kernel.element_size() // 3 // (classes**2 * s1 * s2)
    step = max(1, int(room**0.5))
    if symmetric:  # blocks off the diagonal are computed once: have some
        step = min(step, -(-n1 // 4))
    for i in _slices(n1, step):
        g1, a1 = _group_first(f1, i)
        for j in _slices(n2, step, i.start if symmetric else 0):
            g2, a2 = (g1, a1) if symmetric and i == j else _group_first(f2, j)
            block = kernel.new_zeros(classes, i.stop - i.start, classes, j.stop - j.start)
            for group in range(k):
                patches = a1[group].flatten(0, 1) @ a2[group].flatten(0, 1).mT
                gram = g1[group].flatten(0, 2) @ g2[group].flatten(0, 2).mT
                gram = gram.view(classes, *block.shape[1:2], s1, classes, *block.shape[3:], s2)
                gram *= patches.view(1, block.shape[1], s1, 1, block.shape[3], s2)
                block += gram.sum((2, 5))
            _add_block(kernel, block, i, j, scale, symmetric)


def _group_first(f: Outer, some: slice) -> tuple[Tensor, Tensor]:
    """[k, C, n, S, o] and [k, n, S, d] of some examples."""
    return dense(examples(f.g, some, 1)).movedim(2, 0).contiguous(), dense(examples(f.a, some, 0)).movedim(1, 0)


def by_pairs(kernel: Tensor, f1: Outer, f2: Outer, scale: float, symmetric: bool, scratch: int) -> None:
    """For each example j and a few examples i: ⟨a_is, a_jt⟩ g_bjt, then the product with g_ais."""
    classes, n1, _, n2 = kernel.shape
    k, s1, o, d = f1.sizes
    s2, size = f2.sizes[1], kernel.element_size()
    few = max(1, min(scratch, CHUNK) // 3 // size // (s1 * (classes * o + s2 + d)))
    many = max(1, scratch // 2 // size // (k * s2 * d) // few) * few  # whole blocks of the few
    buffer = kernel.new_empty(min(few, n1), classes * o, s1)
    for js in _slices(n2, many):
        a2 = dense(examples(f2.a, js, 0)).contiguous()  # [j, k, T, d]
        for i in _slices(js.stop if symmetric else n1, few):
            g1 = dense(examples(f1.g, i, 1)).permute(1, 2, 0, 4, 3).flatten(3)  # [i, k, C, o·S]
            shared = symmetric and i.start >= js.start
            a1 = a2[i.start - js.start : i.stop - js.start] if shared else dense(examples(f1.a, i, 0)).contiguous()
            for j, group in product(range(max(i.start, js.start) if symmetric else js.start, js.stop), range(k)):
                m = min(i.stop, j + 1) - i.start if symmetric else i.stop - i.start  # examples up to j
                g2 = dense(examples(f2.g, slice(j, j + 1), 1))[:, 0, group].mT.reshape(classes * o, s2)
                patches = a1[:m, group] @ a2[j - js.start, group].mT  # [m, S, T]
                carried = torch.bmm(g2.expand(m, -1, -1), patches.mT, out=buffer[:m])  # [m, C·o, S]
                block = torch.bmm(g1[:m, group], carried.view(m, classes, o * s1).mT).movedim(0, 1)  # [a, m, b]
                kernel[:, i.start : i.start + m, :, j].add_(block, alpha=scale)
                if symmetric:
                    before = min(i.stop, j) - i.start
                    kernel[:, j, :, i.start : i.start + before].add_(
                        block[:, :before].permute(2, 0, 1), alpha=scale
                    )


def _add_block(kernel: Tensor, block: Tensor, i: slice, j: slice, scale: float, symmetric: bool) -> None:
    kernel[:, i, :, j].add_(block, alpha=scale)
    if symmetric and i != j:
        kernel[:, j, :, i].add_(block.permute(2, 3, 0, 1), alpha=scale)


def _slices(size: int, step: int, start: int = 0) -> Iterator[slice]:
    for lo in range(start, size, step):
        yield slice(lo, min(lo + step, size))


def _ranges(size: int, step: int) -> Iterator[tuple[int, int]]:
    for lo in range(0, size, step):
        yield lo, min(lo + step, size)


ORDERS: dict[str, Callable[[Tensor, Outer, Outer, float, bool, int], None]] = {
    "gradients": by_gradients,
    "positions": by_positions,
    "pairs": by_pairs,
}


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
            ORDERS[chosen](kernel, f1, f2, scale, symmetric, scratch)
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
