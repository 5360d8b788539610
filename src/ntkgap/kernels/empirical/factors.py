"""Per-example gradients of one parameter, kept in factored form.

Throughout, C counts outputs (or combinations of outputs), n examples, k groups of channels, S positions at
which a layer is applied to one example, o and d the output and input features of one group. Outputs come
before examples, so that a Gram matrix of gradients [C·n, C·n] and one of inputs [n, n] multiply along
contiguous memory.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Patches:
    """Windows into x [*lead, r, channels, *pixels], r images belonging to one example.

    Stands for a tensor [*lead, groups, S, d] with S = r · (windows of one image) positions and
    d = (channels / groups) · (entries of a window).
    """

    x: Tensor
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def pixels(self) -> tuple[int, ...]:
        """Windows along each pixel axis."""
        sizes = self.x.shape[-len(self.window) :]
        spans = [d * (w - 1) + 1 for d, w in zip(self.dilation, self.window, strict=True)]
        return tuple(
            (size + sum(pad) - span) // stride + 1
            for size, pad, span, stride in zip(sizes, self.padding, spans, self.stride, strict=True)
        )

    @property
    def channels(self) -> int:
        """Channels of one group."""
        return self.x.shape[-len(self.window) - 1] // self.groups

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor that the patches stand for."""
        *lead, images = self.x.shape[: -len(self.window) - 1]
        return (*lead, self.groups, images * math.prod(self.pixels), self.channels * math.prod(self.window))

    def dense(self, channels: slice = slice(None)) -> Tensor:
        """The patches of some channels of every group, [*lead, groups, S, d]; stored with S last."""
        dims, lead = len(self.window), self.x.ndim - len(self.window) - 2
        x = self.x.unflatten(lead + 1, (self.groups, self.channels)).narrow(
            lead + 2, *_start_and_length(channels, self.channels)
        )
        if any(map(any, self.padding)):
            x = F.pad(x, [p for pair in reversed(self.padding) for p in pair])
        for axis, (width, stride, dilation) in enumerate(
            zip(self.window, self.stride, self.dilation, strict=True), start=lead + 3
        ):
            x = x.unfold(axis, dilation * (width - 1) + 1, stride)[..., ::dilation]
        # [*lead, r, groups, channels, *pixels, *window] -> [*lead, groups, channels, *window, r, *pixels]
        order = [*range(lead), lead + 1, lead + 2, *range(lead + 3 + dims, lead + 3 + 2 * dims), lead]
        x = x.permute(*order, *range(lead + 3, lead + 3 + dims))
        return x.flatten(lead + 2 + dims).flatten(lead + 1, lead + 1 + dims).mT


def _start_and_length(some: slice, size: int) -> tuple[int, int]:
    start, stop, _ = some.indices(size)
    return start, stop - start


def columns(tensor: Tensor | Patches, lo: int, hi: int) -> Tensor:
    """Features lo:hi of [..., S, d]; patches are laid out for whole channels only, and cut."""
    if not isinstance(tensor, Patches):
        return tensor[..., lo:hi]
    area = math.prod(tensor.window)
    first, last = lo // area, -(-hi // area)
    laid_out = tensor.dense(slice(first, last))
    return laid_out[..., lo - first * area : hi - first * area]


#: Numbers of patches that are laid out at a time.
LAID_OUT = 2**21


@dataclass
class Rows:
    """Explicit gradients: J[c, i, :] = rows[c, i, :]. For parameters that are small, or have no structure."""

    rows: Tensor  # [C, n, p]

    def explicit(self) -> Tensor:
        """The gradients, [C, n, p]."""
        return self.rows

    def transposed_product(self, v: Tensor) -> Tensor:
        """Σ_{c,i} v[c, i] J[c, i], flat, for v of shape [C, n]."""
        return v.flatten() @ self.rows.flatten(0, 1)

    def product(self, w: Tensor) -> Tensor:
        """J w for a flat w: [C, n]."""
        return self.rows @ w

    def squared_norms(self) -> Tensor:
        """‖J[c, i]‖², [C, n]."""
        return self.rows.square().sum(-1)

    def folded(self) -> "Rows":
        """The outputs laid side by side as one: the Gram matrix of the result is the sum over outputs."""
        return Rows(self.rows.transpose(0, 1).flatten(1)[None])


@dataclass
class Outer:
    """J[c, i] = Σ_s g[c, i, :, s] ⊗ a[i, :, s], group by group, flattened with g's index before a's.

    Attributes:
        g: gradients with respect to what the layer returned, [C, n, k, S, o].
        a: what the layer saw, [n, k, S, d].
        flipped: the parameter is laid out with a's index before g's.
    """

    g: Tensor | Patches
    a: Tensor | Patches
    flipped: bool = False

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """(k, S, o, d)."""
        k, s, o = self.g.shape[-3:]
        return k, s, o, self.a.shape[-1]

    def explicit(self) -> Tensor:
        """The gradients, [C, n, k·o·d]."""
        g, a = dense(self.g), dense(self.a)
        return torch.stack([(a.mT @ x if self.flipped else x.mT @ a).flatten(1) for x in g])

    def transposed_product(self, v: Tensor) -> Tensor:
        """Σ_{c,i} v[c, i] J[c, i], flat, for v of shape [C, n]."""
        return torch.stack([part._transposed_product(v[:, some]) for some, part in self._parts()]).sum(0)

    def _transposed_product(self, v: Tensor) -> Tensor:
        g, a = self.g, dense(self.a)
        g = replace(g, x=_weighted(v, g.x)).dense() if isinstance(g, Patches) else _weighted(v, g)
        g, a = g.transpose(0, 1).flatten(1, 2), a.transpose(0, 1).flatten(1, 2)
        return (a.mT @ g if self.flipped else g.mT @ a).flatten()

    def product(self, w: Tensor) -> Tensor:
        """J w for a flat w: [C, n]."""
        return torch.cat([part._product(w) for _, part in self._parts()], 1)

    def _product(self, w: Tensor) -> Tensor:
        k, _, o, d = self.sizes
        weight = w.view(k, d, o) if self.flipped else w.view(k, o, d).mT  # [k, d, o]
        z = dense(self.a) @ weight  # [n, k, S, o]
        g = dense(self.g)
        if g.stride(-2) < g.stride(-1):  # numbers in the order in which they are stored: no copy
            g, z = g.mT, z.mT
        return (g.transpose(0, 1).flatten(2) @ z.flatten(1)[..., None])[..., 0].T

    def _parts(self) -> Iterator[tuple[slice, "Outer"]]:
        """Some examples at a time, where patches are to be laid out for them."""
        n = self.g.shape[1]
        laid_out = [math.prod(t.shape) // n for t in (self.g, self.a) if isinstance(t, Patches)]
        step = max(1, LAID_OUT // sum(laid_out)) if laid_out else n
        for lo in range(0, n, step):
            some = slice(lo, min(lo + step, n))
            yield (
                some,
                self if step >= n else Outer(examples(self.g, some, 1), examples(self.a, some, 0), self.flipped),
            )

    def squared_norms(self) -> Tensor:
        """‖J[c, i]‖², [C, n]."""
        return torch.cat([part._squared_norms() for _, part in self._parts()], 1)

    def _squared_norms(self) -> Tensor:
        _, s, o, d = self.sizes
        g, a = dense(self.g), dense(self.a)
        if s * (o + d) < o * d:  # Σ_{s,t} ⟨g_s, g_t⟩ ⟨a_s, a_t⟩
            patches = a @ a.mT
            return torch.stack([((x @ x.mT) * patches).sum((1, 2, 3)) for x in g])
        return torch.stack([(x.mT @ a).square().sum((1, 2, 3)) for x in g])

    def folded(self) -> "Outer":
        """The outputs laid side by side as one: the Gram matrix of the result is the sum over outputs."""
        g = dense(self.g)  # [C, n, k, S, o] -> [1, n, k, S, C·o]
        # The outputs go before o: the fold is free where g is stored [n, C, o, S], as convolutions have it.
        return Outer(g.permute(1, 2, 3, 0, 4).flatten(3)[None], self.a, self.flipped)

    def shifted(self, other: "Outer") -> "Outer":
        """J − J' without cancellation: g ⊗ a − g' ⊗ a' = (g − g') ⊗ a + g' ⊗ (a − a'), 2 S positions."""
        g, g0, a, a0 = dense(self.g), dense(other.g), dense(self.a), dense(other.a)
        return Outer(torch.cat([g - g0, g0], 3), torch.cat([a, a - a0], 2), self.flipped)


@dataclass
class Lookup:
    """The gradient of a table of which example i reads rows: J[c, i] = Σ_s e(index[i, s]) ⊗ g[c, i, s]."""

    g: Tensor  # [C, n, S, d]
    index: Tensor  # [n, S]
    entries: int

    def restricted(self, entries: Tensor) -> Tensor:
        """The gradients of the table's rows ``entries`` (sorted, a superset of those used), [C, n, u, d]."""
        where = torch.searchsorted(entries, self.index.contiguous())
        c, n, s, d = self.g.shape
        flat = (where + torch.arange(n, device=where.device)[:, None] * len(entries)).flatten()
        rows = self.g.new_zeros(c, n * len(entries), d).index_add_(1, flat, self.g.reshape(c, n * s, d))
        return rows.view(c, n, len(entries), d)

    def explicit(self) -> Tensor:
        """The gradients, [C, n, entries·d]."""
        return self.restricted(torch.arange(self.entries, device=self.index.device)).flatten(2)

    def transposed_product(self, v: Tensor) -> Tensor:
        """Σ_{c,i} v[c, i] J[c, i], flat, for v of shape [C, n]."""
        g = torch.einsum("ci,cisd->isd", v, self.g).flatten(0, 1)
        return g.new_zeros(self.entries, g.shape[-1]).index_add_(0, self.index.flatten(), g).flatten()

    def product(self, w: Tensor) -> Tensor:
        """J w for a flat w: [C, n]."""
        return torch.einsum("cisd,isd->ci", self.g, w.view(self.entries, -1)[self.index])

    def squared_norms(self) -> Tensor:
        """‖J[c, i]‖², [C, n]."""
        return self.restricted(self.index.unique()).square().sum((2, 3))

    def folded(self) -> "Lookup":
        """The outputs laid side by side as one: the Gram matrix of the result is the sum over outputs."""
        return Lookup(self.g.permute(1, 2, 0, 3).flatten(2)[None], self.index, self.entries)


Factor = Rows | Outer | Lookup


def examples(tensor: Tensor | Patches, some: slice, axis: int) -> Tensor | Patches:
    """Some examples."""
    index = (slice(None),) * axis + (some,)
    return replace(tensor, x=tensor.x[index]) if isinstance(tensor, Patches) else tensor[index]


def _weighted(v: Tensor, g: Tensor) -> Tensor:
    """Σ_c v[c, i] g[c, i, ...], without the axis of outputs."""
    if g.stride(-2) < g.stride(-1):  # numbers in the order in which they are stored: no copy
        return _weighted(v, g.mT).mT
    return (v.T[:, None] @ g.transpose(0, 1).flatten(2)).view(g.shape[1:])


def alike(f1: Factor, f2: Factor) -> bool:
    """Whether two factors lie in their parameter in the same way, and can be multiplied as they are."""
    if isinstance(f1, Outer) and isinstance(f2, Outer):
        (k1, _, o1, d1), (k2, _, o2, d2) = f1.sizes, f2.sizes
        return (k1, o1, d1, f1.flipped) == (k2, o2, d2, f2.flipped)
    return type(f1) is type(f2)


def dense(tensor: Tensor | Patches) -> Tensor:
    """Patches laid out; a tensor as it is."""
    return tensor.dense() if isinstance(tensor, Patches) else tensor
