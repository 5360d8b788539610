"""The three exact orders of contraction for a layer that is used at many positions (see ``orders``)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from ntkgap.kernels.empirical.blocks import add_gram
from ntkgap.kernels.empirical.factors import Outer, dense, examples
from ntkgap.kernels.empirical.patches import Patches, columns

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
