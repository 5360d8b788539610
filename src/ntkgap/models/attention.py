"""Self-attention in plain torch, in the two scalings whose infinite-width limits differ."""

import math

import torch
from torch import Tensor, nn

from ntkgap.errors import ModelError
from ntkgap.models.checks import check_choice, check_positive_integers
from ntkgap.models.parametrizations import LayerFactory

SCALINGS = ("sqrt", "linear")


class SelfAttention(nn.Module):
    r"""Multi-head self-attention without mask.

    .. math:: \mathrm{softmax}(Q K^\top / s)\, V \quad \text{in each of } h \text{ heads of size } d = m / h

    followed by a linear map of the heads' joint output.

    * ``scaling="sqrt"``: s = √d, with Q, K and V of their own, the usual attention (Vaswani et al. 2017).
      At initialization the logits stay random however wide the heads are, so that the limit of a network
      with few heads is no Gaussian process.
    * ``scaling="linear"``: s = d and K = Q. The logits QQᵀ/d then tend to the covariance of the queries,
      which is not random, and the limit has a closed form for any number of heads (Hron et al. 2020). With
      independent Q and K the logits would vanish. It is also the scaling that μP asks for.

    Args:
        width: m, size of a token.
        heads: number of heads; divides the width.
        scaling: ``"sqrt"`` or ``"linear"``.
        factory: makes the linear maps; NTK parametrization with σ_w = 1 if not given.

    Shapes: input and output [n, T, width].

    Raises:
        ModelError: if a size is not a positive integer, the scaling is unknown or the heads do not
            divide the width.

    Example:
        >>> ng.models.SelfAttention(width=8, heads=2)(torch.zeros(1, 5, 8)).shape
        torch.Size([1, 5, 8])
    """

    def __init__(
        self, width: int, heads: int = 1, scaling: str = "sqrt", *, factory: LayerFactory | None = None
    ) -> None:
        super().__init__()
        check_positive_integers(width=width, heads=heads)
        check_choice("scaling", scaling, SCALINGS)
        if width % heads:
            raise ModelError(
                f"heads={heads} does not divide width={width}; choose a width that is a multiple of it"
            )
        factory = LayerFactory(width) if factory is None else factory
        self.width, self.heads, self.scaling = width, heads, scaling
        self.query = factory.linear(width, width)
        self.key = factory.linear(width, width) if scaling == "sqrt" else None
        self.value = factory.linear(width, width)
        self.output = factory.linear(width, width)
        size = width // heads
        self.scale = 1 / math.sqrt(size) if scaling == "sqrt" else 1 / size

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, T, width] to [n, T, width]."""
        q = self._split(self.query(x))  # [n, heads, T, width / heads]
        k = q if self.key is None else self._split(self.key(x))
        weights = torch.softmax(self.scale * torch.matmul(q, k.transpose(-2, -1)), -1)  # [n, heads, T, T]
        mixed = torch.matmul(weights, self._split(self.value(x)))
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.width // self.heads)).transpose(1, 2)

    def extra_repr(self) -> str:
        """Heads and scaling, as shown by ``print(model)``."""
        return f"heads={self.heads}, scaling={self.scaling!r}"
