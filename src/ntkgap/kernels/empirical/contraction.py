"""Products of factored gradients: K[a, i, b, j] += ⟨J[a, i], J'[b, j]⟩."""

from torch import Tensor

from ntkgap.kernels.empirical.factors import Outer
from ntkgap.kernels.empirical.terms import Term


def contract(kernel: Tensor, terms1: dict[str, Term], terms2: dict[str, Term], symmetric: bool) -> None:
    """Add J J'ᵀ to ``kernel`` [C, n1, C, n2]; if ``symmetric``, only where a row block meets itself and later ones."""
    families: dict[tuple, tuple[Tensor, Tensor, Tensor | float]] = {}
    for name in terms1.keys() & terms2.keys():
        one, two = terms1[name], terms2[name]
        scale = one.part.scale * two.part.scale
        g1, a1 = _dense(one)
        g2, a2 = _dense(two)
        if (a1 is None) != (a2 is None):
            g1, a1, g2, a2, scale = one.explicit(), None, two.explicit(), None, 1.0
        coefficient = scale if a1 is None or a2 is None else scale * (a1 @ a2.mT)
        key = (g1.data_ptr(), g2.data_ptr(), g1.shape, g2.shape)
        if key in families:
            coefficient = families[key][2] + coefficient
        families[key] = (g1, g2, coefficient)
    for g1, g2, coefficient in families.values():
        _add_gram(kernel, g1, g2, coefficient, symmetric)


def _dense(term: Term) -> tuple[Tensor, Tensor | None]:
    factor = term.factor
    if isinstance(factor, Outer):
        if factor.sizes[:2] == (1, 1):
            return factor.g[:, :, 0, 0], factor.a[:, 0, 0]
        return factor.explicit(), None
    return factor.explicit(), None


def row_blocks(classes: int, n: int) -> list[tuple[slice, slice]]:
    """Blocks of rows (c, i) of a symmetric [C·n, C·n] matrix: about eight, each within one class or of whole ones."""
    if classes == 1:
        step = max(64, -(-n // 8))
        return [(slice(0, 1), slice(i, min(i + step, n))) for i in range(0, n, step)]
    step = max(1, -(-classes // 10))
    return [(slice(c, min(c + step, classes)), slice(0, n)) for c in range(0, classes, step)]


def _add_gram(kernel: Tensor, g1: Tensor, g2: Tensor, coefficient: Tensor | float, symmetric: bool) -> None:
    classes, n = g1.shape[:2]
    if not symmetric:
        gram = (g1.flatten(0, 1) @ g2.flatten(0, 1).mT).view(kernel.shape)
        _multiply_add(kernel, gram, coefficient)
        return
    for c, i in row_blocks(classes, n):
        rows = g1[c, i]
        later = (
            (slice(c.start, None), slice(i.start, None))
            if classes > 1
            else (slice(0, 1), slice(i.start, None))
        )
        columns = g2[later]
        gram = (rows.flatten(0, 1) @ columns.flatten(0, 1).mT).view(*rows.shape[:2], *columns.shape[:2])
        part = coefficient[i, later[1]] if isinstance(coefficient, Tensor) else coefficient
        _multiply_add(kernel[c, i][:, :, later[0], later[1]], gram, part)


def _multiply_add(kernel: Tensor, gram: Tensor, coefficient: Tensor | float) -> None:
    if isinstance(coefficient, Tensor):
        kernel.addcmul_(gram, coefficient[:, None, :])
    else:
        kernel.add_(gram, alpha=coefficient)


def mirror(kernel: Tensor) -> None:
    """Fill the blocks below the diagonal of a symmetric kernel [C, n, C, n] from those above."""
    classes, n = kernel.shape[:2]
    for c, i in row_blocks(classes, n):
        if classes > 1:
            kernel[c.stop :, :, c] = kernel[c, :, c.stop :].permute(2, 3, 0, 1)
        else:
            kernel[0, i.stop :, 0, i] = kernel[0, i, 0, i.stop :].mT
