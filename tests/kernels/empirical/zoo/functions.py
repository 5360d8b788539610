"""Single functions of inputs and parameters, most of which no layer of torch.nn uses."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.empirical.zoo.case import Case, floats, linear, net, tokens


def interpolated_places(m, x):
    """Learned positions of a 2 × 2 grid for an image of 4 × 4, as where ViTs change resolution."""
    place = F.interpolate(m.place, size=x.shape[-2:], mode="bicubic", align_corners=False)
    return torch.tanh(m.conv(x) + place).flatten(1)


def sampled_texture(m, x):
    """A learned picture, read at the points x."""
    return F.grid_sample(m.picture, torch.tanh(x)[None], align_corners=True)[0].permute(1, 2, 0).flatten(1)


def inputs_as_filters(m, x):
    """The learned picture is what is convolved, the examples are the filters."""
    return F.conv2d(m.picture, x).squeeze(0).tanh().flatten(1)


def learned_constant(m, x):
    """A generator that starts from a learned picture and is modulated by the example."""
    h = m.picture.expand(len(x), -1, -1, -1) * m.a(x)[..., None, None]
    return m.conv(F.interpolate(h, scale_factor=2.0)).tanh().flatten(1)


def piecewise_linear(m, x):
    """A learned value at each knot, looked up between two."""
    z = torch.sigmoid(x) * 4
    k = z.floor().clamp(max=3).long()
    return (1 - (z - k)) * m.values[k] + (z - k) * m.values[k + 1]


def ordered_thresholds(m, x):
    """Ordinal regression: cumulative sums of positive steps."""
    return torch.sigmoid(m.a(x) - m.steps.exp().cumsum(0))


def learned_permutation(m, x):
    """A doubly stochastic matrix by Sinkhorn's iteration."""
    p = m.p
    for _ in range(5):
        p = p - p.logsumexp(1, keepdim=True)
        p = p - p.logsumexp(0, keepdim=True)
    return torch.tanh(x @ p.exp())


def delta_rule(m, x):
    """A memory for each example, written by outer products."""
    w = m.start.expand(len(x), -1, -1)
    for t in range(x.shape[1]):
        k = F.normalize(m.k(x[:, t]), dim=-1)
        w = w + torch.einsum("no,nk->nok", m.v(x[:, t]) - (w @ k[..., None])[..., 0], k)
    return w.flatten(1)


def weights_as_data(m, x):
    """A network that reads its own first weight."""
    summary = torch.tanh(m.b(m.a.weight)).mean(0)
    return torch.tanh(m.a(x)) * summary


def left_out(m, x):
    """One example's features at a time are left out; the axis of variants stands before that of examples."""
    variants = torch.stack([x * (torch.arange(3) != k) for k in range(3)])
    return m.b(torch.tanh(m.a(variants))).mean(0)


def case(name, function, inputs, **parts):
    return Case(name, net(function, **parts), inputs)


X = floats(4)

W = {"w": (4, 3)}


CASES = [
    case("distances of order 1", lambda m, x: torch.cdist(x, m.c, p=1.0), X, c=(3, 4)),
    case("distances of order 3", lambda m, x: torch.cdist(x, m.c, p=3.0), X, c=(3, 4)),
    case("largest distances", lambda m, x: torch.cdist(x, m.c, p=torch.inf), X, c=(3, 4)),
    case("distances of tokens", lambda m, x: torch.cdist(x, m.c).mean(1), floats(2, 4), c=(3, 4)),
    case(
        "distances by matrix products",
        lambda m, x: torch.cdist(x, m.c, compute_mode="use_mm_for_euclid_dist"),
        X,
        c=(3, 4),
    ),
    case(
        "distances of pairs", lambda m, x: F.pairwise_distance(torch.tanh(m.a(x)), m.c), X, a=linear(4, 3), c=(3,)
    ),
    case("distances among parameters", lambda m, x: x @ torch.pdist(m.c)[:4, None], X, c=(4, 2)),
    case("cosine similarity", lambda m, x: F.cosine_similarity(x[:, None], m.w.T, dim=-1), X, **W),
    case("norm of order 1", lambda m, x: (x[:, :, None] * m.w).norm(p=1, dim=1), X, **W),
    case("largest norm", lambda m, x: torch.linalg.vector_norm(x[:, :, None] * m.w, torch.inf, dim=1), X, **W),
    case("product over features", lambda m, x: (x[:, :, None] * m.w + 1).prod(1), X, **W),
    case("running product", lambda m, x: (x * m.w[:, 0]).cumprod(1), X, **W),
    case("running maximum", lambda m, x: (x * m.w[:, 0]).cummax(1).values, X, **W),
    case("running logsumexp", lambda m, x: torch.logcumsumexp(x * m.w[:, 0], 1), X, **W),
    case("standard deviation", lambda m, x: (x[:, :, None] * m.w).std(1), X, **W),
    case("variance and mean", lambda m, x: torch.cat(torch.var_mean(x[:, :, None] * m.w, 1), 1), X, **W),
    case("median", lambda m, x: (x[:, :, None] * m.w).median(1).values, X, **W),
    case("quantile", lambda m, x: torch.quantile(x[:, :, None] * m.w, 0.3, dim=1), X, **W),
    case("k-th value", lambda m, x: (x[:, :, None] * m.w).kthvalue(2, 1).values, X, **W),
    case("einsum of three", lambda m, x: torch.einsum("ni,ij,jk->nk", x, m.a, m.b).tanh(), X, a=(4, 2), b=(2, 3)),
    case("einsum with a trace", lambda m, x: torch.einsum("ni,iio->no", x, m.w), X, w=(4, 4, 2)),
    case(
        "einsum over examples last",
        lambda m, x: torch.einsum("din,do->noi", x.permute(1, 2, 0), m.w).tanh(),
        floats(4, 2),
        **W,
    ),
    case("outer product", lambda m, x: torch.stack([torch.outer(row, m.w[0]).tanh().sum(0) for row in x]), X, **W),
    case("batch of matrices", lambda m, x: torch.matmul(x[:, None, None], m.w).flatten(1), X, w=(2, 4, 3)),
    case("broadcast from the left", lambda m, x: (x[..., None] + m.w).tanh().flatten(1), X, w=(1, 4, 3)),
    case("bilinear function", lambda m, x: F.bilinear(x[:, :2], x[:, 2:], m.w, m.b), X, w=(3, 2, 2), b=(3,)),
    case("cross product", lambda m, x: torch.linalg.cross(x, m.w.expand(len(x), 3)), floats(3), w=(1, 3)),
    case(
        "interpolated positions",
        interpolated_places,
        floats(1, 4, 4),
        place=(1, 2, 2, 2),
        conv=lambda: nn.Conv2d(1, 2, 1),
    ),
    case("learned picture read at points", sampled_texture, floats(3, 2), picture=(1, 2, 3, 3)),
    case("examples as filters", inputs_as_filters, floats(2, 2, 2), picture=(1, 2, 4, 4)),
    case(
        "learned constant picture",
        learned_constant,
        floats(3),
        picture=(1, 2, 2, 2),
        a=linear(3, 2),
        conv=lambda: nn.Conv2d(2, 1, 3),
    ),
    case("piecewise linear", piecewise_linear, X, values=(6,)),
    case("ordered thresholds", ordered_thresholds, X, a=linear(4, 1, False), steps=(3,)),
    case("learned permutation", learned_permutation, X, p=(4, 4)),
    case(
        "memory written by outer products",
        delta_rule,
        floats(3, 4),
        start=(1, 2, 2),
        k=linear(4, 2, False),
        v=linear(4, 2, False),
    ),
    case("weights as data", weights_as_data, X, a=linear(4, 3), b=linear(4, 3)),
    case("variants before examples", left_out, floats(3), a=linear(3, 4), b=linear(4, 2)),
    case("fractional power", lambda m, x: (x.abs() + 0.1) ** m.w[:, 0], X, **W),
    case("atan2", lambda m, x: torch.atan2(x, m.w[:, 0]), X, **W),
    case("lerp", lambda m, x: torch.lerp(m.a, torch.tanh(x), torch.sigmoid(m.b)), X, a=(4,), b=(4,)),
    case("addcmul", lambda m, x: torch.addcmul(m.a, x, m.b, value=0.5), X, a=(4,), b=(4,)),
    case("gumbel scores of labels", lambda m, x: m.w[x].softmax(-1) @ m.v, tokens(5), w=(5, 3), v=(3, 2)),
    case(
        "cross entropy inside",
        lambda m, x: F.cross_entropy(m.a(x), torch.zeros(len(x), dtype=torch.long), reduction="none"),
        X,
        a=linear(4, 3),
    ),
    case("real parts of a spectrum", lambda m, x: torch.fft.rfft(x * m.w[:, 0]).real, X, **W),
    case(
        "circular convolution by FFT",
        lambda m, x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(m.w), n=4),
        X,
        w=(4,),
    ),
    case(
        "low-pass by a learned mask",
        lambda m, x: torch.fft.irfft(torch.fft.rfft(x) * torch.sigmoid(m.w), n=4),
        X,
        w=(3,),
    ),
]
