"""A contextual bandit: what a learner sees in each round, and what each arm would pay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from ntkgap.errors import DataError
from ntkgap.one_line import one_line

Encoding = Literal["disjoint", "outputs"]
UNIT_NORM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Environment:
    """T rounds with K arms.

    What each arm pays in each round is drawn in advance: policies that play the same environment get the same
    rewards, and differences between them are paired.

    It is kept on the CPU, wherever the arrays were: a round is a few numbers.

    Attributes:
        contexts: what is seen before the choice, [T, d].
        means: expected reward of every arm, [T, K].
        rewards: the reward that every arm would pay, [T, K].
        encoding: how a network is asked about the arms: ``"disjoint"`` (one output; arm a of context x is the
            input x ⊗ e_a, d·K entries, all other entries zero; Zhou, Li, Gu 2020) or ``"outputs"`` (one output an
            arm; Riquelme, Tucker, Snoek 2018).

    Raises:
        DataError: if the encoding is unknown, an array is no tensor, shapes do not fit, there are no rounds or
            fewer than two arms, or an entry is not finite.
    """

    contexts: Tensor
    means: Tensor
    rewards: Tensor
    encoding: Encoding = "disjoint"

    __repr__ = one_line

    def __post_init__(self) -> None:
        if self.encoding not in get_args(Encoding):
            raise DataError(f"unknown encoding {self.encoding!r}; choose one of {', '.join(get_args(Encoding))}")
        for name in ("contexts", "means", "rewards"):
            if not isinstance(getattr(self, name), Tensor):
                raise DataError(
                    f"{name} must be a torch tensor, got {type(getattr(self, name)).__name__}; use torch.as_tensor"
                )
            object.__setattr__(self, name, getattr(self, name).cpu())  # frozen, but not yet for others to see
        if self.contexts.ndim != 2 or self.means.ndim != 2 or self.means.shape != self.rewards.shape:
            raise DataError(
                f"contexts must be [T, d], means and rewards both [T, K]; got {tuple(self.contexts.shape)}, "
                f"{tuple(self.means.shape)} and {tuple(self.rewards.shape)}"
            )
        if len(self.contexts) != len(self.means) or self.arms < 2 or not self.rounds:
            raise DataError(
                f"there are {len(self.contexts)} contexts and rewards of {len(self.means)} rounds and {self.arms} "
                "arms; a bandit needs at least one round, one context a round and at least two arms"
            )
        for name in ("contexts", "means", "rewards"):
            bad = ~torch.isfinite(getattr(self, name)).all(dim=1)
            if bad.any():
                raise DataError(
                    f"{name} have NaN or infinite entries in {int(bad.sum())} of {len(bad)} rounds (the first is "
                    f"round {int(bad.nonzero()[0])}); drop these rounds or impute the entries"
                )

    @property
    def rounds(self) -> int:
        """T."""
        return len(self.contexts)

    @property
    def arms(self) -> int:
        """K."""
        return self.means.shape[1]

    @property
    def in_features(self) -> int:
        """Inputs of a network that is asked about the arms."""
        d = self.contexts.shape[1]
        return d * self.arms if self.encoding == "disjoint" else d

    @property
    def out_features(self) -> int:
        """Outputs of a network that is asked about the arms."""
        return 1 if self.encoding == "disjoint" else self.arms

    def inputs(self, round_: int) -> Tensor:
        """What a network is fed in a round: [K, d·K] with one output, or [1, d] with K outputs.

        Either way its outputs, flattened, are one number an arm.
        """
        x = self.contexts[round_]
        if self.encoding == "outputs":
            return x[None]
        return torch.kron(torch.eye(self.arms, dtype=x.dtype), x[None])

    def regrets(self) -> Tensor:
        """Expected loss of every arm against the best one of its round, [T, K]."""
        return self.means.amax(dim=1, keepdim=True) - self.means

    def reordered(self, order: Sequence[int]) -> "Environment":
        """The same game with its arms in another order.

        Args:
            order: for every new arm the one that it was, a permutation of 0 … K − 1.

        Raises:
            DataError: if it is no permutation.
        """
        if sorted(order) != list(range(self.arms)):
            raise DataError(f"order must hold each of the arms 0 to {self.arms - 1} once, got {list(order)}")
        chosen = list(order)
        return replace(self, means=self.means[:, chosen], rewards=self.rewards[:, chosen])

    def check_unit_norm(self, algorithm: str) -> None:
        """Refuse contexts that an algorithm's theory does not cover.

        Raises:
            DataError: naming the first context whose norm is not 1, and the remedies.
        """
        norms = self.contexts.norm(dim=1)
        bad = (norms - 1).abs() > UNIT_NORM_TOLERANCE
        if bad.any():
            first = int(bad.nonzero()[0])
            raise DataError(
                f"{algorithm} needs contexts of unit norm, but context {first} has norm {norms[first]:.4g}; use "
                "environment.normalized() (divides each by its norm) or environment.lifted() (puts them on a "
                "sphere of one more dimension and keeps their distances)"
            )

    def normalized(self) -> "Environment":
        """Contexts divided by their norms; their lengths are lost.

        Raises:
            DataError: if a context is zero.
        """
        norms = self.contexts.norm(dim=1, keepdim=True)
        if (norms == 0).any():
            first = int((norms[:, 0] == 0).nonzero()[0])
            raise DataError(f"context {first} is all zero and has no direction; use environment.lifted()")
        return replace(self, contexts=self.contexts / norms)

    def lifted(self) -> "Environment":
        """Contexts x ↦ (x, √(R² − ‖x‖²))/R with R the largest norm: on the unit sphere, nothing is lost."""
        squared = self.contexts.square().sum(dim=1, keepdim=True)
        largest = squared.max().clamp_min(torch.finfo(squared.dtype).tiny)
        height = (largest - squared).clamp_min(0).sqrt()
        return replace(self, contexts=torch.cat([self.contexts, height], dim=1) / largest.sqrt())

    def scaled(self, unit: float) -> "Environment":
        """Rewards and their means divided by a constant: networks learn them better near 1, and no ratio of
        regrets changes.

        Raises:
            DataError: if the unit is not a positive number.
        """
        if not 0 < unit < float("inf"):
            raise DataError(f"the unit of rewards must be a positive number, got {unit!r}")
        return replace(self, means=self.means / unit, rewards=self.rewards / unit)
