"""Per-example gradients of one parameter, kept in factored form.

Throughout, C counts outputs (or combinations of outputs), n examples, S positions at which a layer is applied
to one example, o and d the layer's output and input features. Outputs come before examples, so that a Gram
matrix of gradients [C·n, C·n] and one of inputs [n, n] multiply along contiguous memory.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Rows:
    """Explicit gradients: J[c, i, :] = rows[c, i, :]."""

    rows: Tensor  # [C, n, p]

    def explicit(self) -> Tensor:
        """The gradients, [C, n, p]."""
        return self.rows


@dataclass
class Outer:
    """J[c, i] = Σ_s g[c, i, s] ⊗ a[i, s], flattened with g's index first."""

    g: Tensor  # [C, n, S, o]
    a: Tensor  # [n, S, d]

    @property
    def positions(self) -> int:
        """S."""
        return self.a.shape[1]

    def explicit(self) -> Tensor:
        """The gradients, [C, n, o·d]."""
        return (self.g.mT @ self.a).flatten(2)


Factor = Rows | Outer
