"""What stands first in a network: checks that it is fed what it was built for, in the user's words.

The checks look at shapes, which symbolic tracing does not know, so they are functions that tracers record as one
call instead of looking inside: like torch's own, they hand themselves over to arguments that override them
(``__torch_function__``). ``fx.wrap`` would have tracers replace them in this file, for all threads.
"""

import math

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from ntkgap.errors import ModelError


def check_floating(x: Tensor) -> None:
    """Refuse inputs of integers, which no layer can multiply with its weights.

    Raises:
        ModelError: naming the type.
    """
    if not x.is_floating_point():
        raise ModelError(
            f"the network was given an input of type {x.dtype}; convert it first, for instance x.float()"
        )


def checked_features(x: Tensor, in_features: int) -> Tensor:
    """Give x back if it is [n, ...] with ``in_features`` entries an example.

    Raises:
        ModelError: if it is not.
    """
    if has_torch_function_unary(x):
        return handle_torch_function(checked_features, (x,), x, in_features)
    check_floating(x)
    if x.ndim < 2 or math.prod(x.shape[1:]) != in_features:
        raise ModelError(
            f"a network with in_features={in_features} was given an input of shape "
            f"{tuple(x.shape)}; it takes [n, ...] with {in_features} entries an example"
        )
    return x


def checked_images(x: Tensor, channels: int, size: tuple[int, int] | None, least: int, multiple: int) -> Tensor:
    """Give x back if it holds images [n, channels, H, W] of a size that the network can use.

    Raises:
        ModelError: if it does not.
    """
    if has_torch_function_unary(x):
        return handle_torch_function(checked_images, (x,), x, channels, size, least, multiple)
    check_floating(x)
    if x.ndim != 4 or x.shape[1] != channels:
        hint = ""
        if x.ndim == 4 and x.shape[3] == channels:
            hint = "; channels come before the pixels: x.movedim(-1, 1)"
        elif x.ndim == 3 and channels == 1:
            hint = "; add the axis of channels: x.unsqueeze(1)"
        raise ModelError(
            f"a network with in_channels={channels} was given an input of shape {tuple(x.shape)}; "
            f"it takes images [n, {channels}, H, W]{hint}"
        )
    pixels = tuple(x.shape[2:])
    if size is not None and pixels != size:
        raise ModelError(f"a network built with image_size={size} was given images of {pixels} pixels")
    if min(pixels) < least:
        raise ModelError(f"images of {pixels} pixels are too small for this network: it needs {least} a side")
    if any(p % multiple for p in pixels):
        raise ModelError(f"images of {pixels} pixels cannot be cut into patches with patch_size={multiple}")
    return x


def checked_tokens(x: Tensor, in_features: int) -> Tensor:
    """Give x back if it holds tokens [n, T, in_features].

    Raises:
        ModelError: if it does not.
    """
    if has_torch_function_unary(x):
        return handle_torch_function(checked_tokens, (x,), x, in_features)
    check_floating(x)
    if x.ndim != 3 or x.shape[2] != in_features:
        raise ModelError(
            f"a network with in_features={in_features} was given an input of shape {tuple(x.shape)}; "
            f"it takes tokens [n, T, {in_features}]; for images give patch_size"
        )
    return x


class Flatten(nn.Flatten):
    """Flatten examples to vectors of a known length.

    Args:
        in_features: entries of an example.

    Shapes: input [n, ...] with in_features entries an example, output [n, in_features].

    Raises:
        ModelError: when called, if an example has another number of entries.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.in_features = in_features

    def forward(self, input: Tensor) -> Tensor:
        """Map [n, ...] to [n, in_features]."""
        return checked_features(input, self.in_features).flatten(1)

    def extra_repr(self) -> str:
        """The number of features, as shown by ``print(model)``."""
        return f"in_features={self.in_features}"


class ImageInput(nn.Identity):
    """Let images of the right layout through.

    Args:
        channels: number of channels.
        size: (H, W) if only that will do.
        least: least number of pixels a side.
        multiple: number of pixels that a side must be a multiple of.

    Shapes: input and output [n, channels, H, W].

    Raises:
        ModelError: when called with anything else.
    """

    def __init__(
        self, channels: int, size: tuple[int, int] | None = None, *, least: int = 1, multiple: int = 1
    ) -> None:
        super().__init__()
        self.channels, self.size, self.least, self.multiple = channels, size, least, multiple

    def forward(self, input: Tensor) -> Tensor:
        """Give the images back as they are."""
        return checked_images(input, self.channels, self.size, self.least, self.multiple)


class TokenInput(nn.Identity):
    """Let tokens [n, T, in_features] through.

    Raises:
        ModelError: when called with anything else.
    """

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.in_features = in_features

    def forward(self, input: Tensor) -> Tensor:
        """Give the tokens back as they are."""
        return checked_tokens(input, self.in_features)


class MeanOverTokens(nn.Module):
    """The mean over tokens: [n, T, d] to [n, d]."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over the axis of tokens."""
        return torch.mean(x, 1)
