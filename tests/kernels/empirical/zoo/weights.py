"""Single functions of a weight: parts of it, matrix functions, entries put in other places."""

import torch
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import floats
from tests.kernels.empirical.zoo.functions import W, X, case


def symmetric(w):
    return w @ w.mT + torch.eye(w.shape[-1]).to(w)


CASES = [
    case("sorted weights", lambda m, x: x @ m.w.sort(0).values, X, **W),
    case("flipped and rolled", lambda m, x: x @ (m.w.flip(0) + m.w.roll(1, 0)), X, **W),
    case("turned by 90 degrees", lambda m, x: (x @ m.w.rot90().reshape(4, 3)).tanh(), X, **W),
    case("triangle of a weight", lambda m, x: x @ m.w.tril(-1) + x @ m.w.triu(), X, **W),
    case("diagonal of a weight", lambda m, x: x * m.w.diagonal() + m.w.trace(), X, w=(4, 4)),
    case("windows of a vector", lambda m, x: x @ m.w.unfold(0, 3, 1), X, w=(6,)),
    case("strided view", lambda m, x: x @ m.w.as_strided((4, 2), (1, 2)), X, w=(6,)),
    case("every other row", lambda m, x: x @ m.w[::2, 1:], X, w=(8, 4)),
    case("masked entries", lambda m, x: x @ torch.masked_fill(m.w, m.w.detach() > 0, 0.5), X, **W),
    case("entries chosen by a mask", lambda m, x: x * m.w[torch.eye(4, dtype=torch.bool)], X, w=(4, 4)),
    case("clamped weight", lambda m, x: x @ m.w.clamp(-0.3, 0.3), X, **W),
    case("inverse", lambda m, x: x @ torch.linalg.inv(symmetric(m.w)), X, w=(4, 4)),
    case("Cholesky factor", lambda m, x: x @ torch.linalg.cholesky(symmetric(m.w)), X, w=(4, 4)),
    case(
        "triangular solve",
        lambda m, x: torch.linalg.solve_triangular(m.w.tril(-1) + torch.eye(4).to(x), x.T, upper=False).T,
        X,
        w=(4, 4),
    ),
    case("eigenvalues", lambda m, x: x * torch.linalg.eigvalsh(symmetric(m.w)), X, w=(4, 4)),
    case("singular values", lambda m, x: x[:, :3] * torch.linalg.svdvals(m.w), X, **W),
    case("QR factor", lambda m, x: x @ torch.linalg.qr(m.w).Q, X, **W),
    case(
        "determinant",
        lambda m, x: torch.linalg.det(x[:, :2, None] * m.w[:2, :2] + m.w[2:, :2])[:, None] * m.w[0],
        X,
        **W,
    ),
    case("matrix power", lambda m, x: x @ torch.linalg.matrix_power(m.w, 3), X, w=(4, 4)),
    case("exponential", lambda m, x: x @ torch.matrix_exp(m.w), X, w=(4, 4)),
    case(
        "chain of products",
        lambda m, x: torch.linalg.multi_dot([x, m.a, m.b, m.c]),
        X,
        a=(4, 2),
        b=(2, 3),
        c=(3, 2),
    ),
    case("padded weight", lambda m, x: F.conv1d(x, F.pad(m.w, (1, 1))).flatten(1), floats(2, 5), w=(2, 2, 1)),
    case(
        "dilated by a Kronecker product",
        lambda m, x: F.conv1d(x, torch.kron(m.w, torch.tensor([[[1.0, 0, 1]]]).to(x))).flatten(1),
        floats(2, 5),
        w=(2, 2, 1),
    ),
    case(
        "index_add of rows",
        lambda m, x: x @ torch.zeros(4, 3).to(x).index_add(0, torch.tensor([0, 2, 2, 1]), m.w),
        X,
        **W,
    ),
    case(
        "scatter of entries",
        lambda m, x: x @ torch.zeros(4, 3).to(x).scatter_add(0, torch.tensor([[0, 1, 1]]), m.w),
        X,
        w=(1, 3),
    ),
    case(
        "index_put, accumulated",
        lambda m, x: x * torch.zeros(4).to(x).index_put((torch.tensor([0, 1, 1, 3]),), m.w, accumulate=True),
        X,
        w=(4,),
    ),
    case("repeated by counts", lambda m, x: x * m.w.repeat_interleave(torch.tensor([1, 3])), X, w=(2,)),
    case("where of two weights", lambda m, x: x @ torch.where(m.a > m.b, m.a, m.b), X, a=(4, 3), b=(4, 3)),
]
