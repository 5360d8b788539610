"""What is known of a random tensor inside an infinitely wide network before any number is computed."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from ntkgap.errors import ModelError


@dataclass(frozen=True)
class Field:
    """Channels that are identically distributed.

    Attributes:
        channels: how many the finite network has.
        gaussian: whether their limit is a Gaussian process (an affine layer's output, not an activation's).
        zero_mean: whether their expectation is zero.
        sources: the layers whose weights they are linear or pointwise in; fields with disjoint sources are
            uncorrelated if one of them has zero mean.
        scales: whether trained scales of a normalization were the last to act on every channel. Their part of Θ is
            the square of the channel itself: not a constant, as that of weights, and correlated with the slope of
            a nonlinearity. "shared" and "own" say whether positions share them; that part is not in Θ yet. "mixed"
            says that it is, but that other channels or positions have been mixed in.
    """

    channels: int
    gaussian: bool
    zero_mean: bool
    sources: frozenset[str]
    scales: Literal["", "shared", "own", "mixed"] = ""


@dataclass(frozen=True)
class Layout:
    """Which axes of a tensor [n, ...] are positions (pixels, tokens), and which one the width runs along.

    Attributes:
        positions: sizes of the position axes, in the order of the tensor.
        channel_axis: axis of the channels; the others, but for the batch, are positions.
        flat: the channel axis holds channels × positions, as after ``Flatten``.
        batch_axis: axis of the examples. It is not the first one where time comes first, [T, n, channels]; it is
            that of the channels where both are folded into one, [N, n·channels].
    """

    positions: tuple[int, ...]
    channel_axis: int
    flat: bool = False
    batch_axis: int = 0

    @property
    def ndim(self) -> int:
        """Number of axes of the tensor."""
        return 2 if self.flat else len(self.positions) + len({self.batch_axis, self.channel_axis})

    @property
    def position_axes(self) -> list[int]:
        """Tensor axes of the positions; none where they are folded into the channels."""
        taken = (self.batch_axis, self.channel_axis)
        return [] if self.flat else [a for a in range(self.ndim) if a not in taken]

    def position_of(self, axis: int) -> int:
        """Index among the positions of a tensor axis."""
        return self.position_axes.index(axis)

    def without(self, axes: Collection[int]) -> "Layout":
        """What is left when some position axes go."""
        left = tuple(size for a, size in zip(self.position_axes, self.positions, strict=True) if a not in axes)
        channel, batch = (at - sum(a < at for a in axes) for at in (self.channel_axis, self.batch_axis))
        return replace(self, positions=left, channel_axis=channel, batch_axis=batch)


@dataclass(frozen=True)
class Signal:
    """A random tensor: its layout, and its fields in the order of the channels."""

    layout: Layout
    fields: tuple[Field, ...]

    @property
    def channels(self) -> int:
        """Channels of all fields."""
        return sum(field.channels for field in self.fields)

    @property
    def gaussian(self) -> bool:
        """Whether all fields are."""
        return all(field.gaussian for field in self.fields)

    @property
    def sources(self) -> frozenset[str]:
        """Layers that any of the fields depends on."""
        return frozenset().union(*(field.sources for field in self.fields))


def require_independent(a: Field, b: Field, place: str, what: str) -> None:
    """Refuse to combine fields that share the weights of a layer: their correlation is not followed.

    Raises:
        ModelError: naming the layer they share.
    """
    shared = sorted(a.sources & b.sources)
    if shared:
        raise ModelError(
            f"{place} {what} two branches that both depend on {shared[0]!r} without a layer of weights in "
            "between; they are correlated and the limit has no known recursion. Put a Linear or convolution on "
            "one of them, write an elementwise expression as one activation module, or use "
            "infinite_width_monte_carlo"
        )
