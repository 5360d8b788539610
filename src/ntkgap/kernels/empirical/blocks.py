"""Gram matrices of gradients in blocks, so that the half that symmetry gives is not computed."""

import torch
from torch import Tensor


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
