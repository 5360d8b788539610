"""The shallow network of the natural-gradient theorem: only the hidden layer is trained."""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ntkgap.models.checks import check_positive_integers
from ntkgap.models.input_checks import Flatten
from ntkgap.models.layers import Initialization, NTKLinear
from ntkgap.models.nonlinearities import make_nonlinearity


class SignReadout(nn.Module):
    r"""Readout :math:`a^\top h / \sqrt m` with random signs a that are not trained.

    Args:
        width: number m of inputs.
        generator: source of the signs; torch's global one if not given.

    Shapes: input [n, width], output [n, 1].
    """

    weight: Tensor
    bias = None

    def __init__(self, width: int, *, generator: Generator | None = None) -> None:
        super().__init__()
        self.initialization = Initialization(1 / math.sqrt(width), 1.0, 0.0, 0.0)
        self.register_buffer("weight", torch.randint(2, (1, width), generator=generator) * 2.0 - 1.0)

    def forward(self, h: Tensor) -> Tensor:
        """Map [n, width] to [n, 1]."""
        return F.linear(h, self.weight * self.initialization.weight_scale)


class ShallowNet(nn.Module):
    r"""One hidden layer that is trained, and a fixed readout of random signs.

    .. math:: f(x) = \frac{1}{\sqrt m} \sum_{r=1}^m a_r \varphi(w_r^\top x), \qquad
              w_r \sim N(0, I), \quad a_r \in \{-1, 1\} \text{ fixed}

    The network of Zhang, Martens, Grosse (2019) and of Du et al. (2019): the setting of the theorem on
    fast convergence of natural gradient descent.

    Args:
        in_features: number of inputs d.
        width: number m of hidden units.
        nonlinearity: name from ``ntkgap.models.NONLINEARITIES``; the theorem is about ``"relu"``.
        generator: source of the random initial values; torch's global one if not given.

    Shapes: input [n, ...] with in_features entries an example, output [n, 1].

    Raises:
        ModelError: if a size is not a positive integer or the nonlinearity is unknown; when called, if an
            example does not have in_features entries.

    Example:
        >>> net = ng.models.ShallowNet(in_features=8, width=256, nonlinearity="erf")
        >>> net(torch.zeros(3, 8)).shape
        torch.Size([3, 1])
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        nonlinearity: str = "relu",
        *,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        check_positive_integers(in_features=in_features, width=width)
        self.in_features, self.width = in_features, width
        self.hidden_widths = (width,)
        self.flatten = Flatten(in_features)
        # weight_std = √d cancels the layer's own 1/√d: the theorem feeds w_rᵀx, inputs being unit vectors.
        self.hidden = NTKLinear(in_features, width, math.sqrt(in_features), generator=generator)
        self.nonlinearity = make_nonlinearity(nonlinearity)
        self.readout = SignReadout(width, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, ...] with ``in_features`` entries an example to [n, 1]."""
        return self.readout(self.nonlinearity(self.hidden(self.flatten(x))))

    @property
    def signs(self) -> Tensor:
        """The readout's signs a, [1, width]."""
        return self.readout.weight
