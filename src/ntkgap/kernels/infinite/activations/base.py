"""What the recursion over layers asks of a scalar nonlinearity."""

from abc import ABC, abstractmethod

from torch import Tensor


class Activation(ABC):
    r"""A scalar nonlinearity φ with the Gaussian expectations of its products.

    For (u, v) ~ N(0, [[q₁, c], [c, q₂]]) it gives the covariance of the outputs and that of the slopes,

    .. math:: \Sigma = E[φ(u)\,φ(v)], \qquad \dot\Sigma = E[φ'(u)\,φ'(v)],

    which are all that the kernels of infinitely wide networks need (Jacot et al. 2018; Lee et al. 2019).
    Where φ has no derivative, φ' is what torch's automatic differentiation returns there. Results have the
    dtype and device of c and can be differentiated; where a derivative is infinite (two equal inputs of a
    network with kinks) the infinite part counts as 0.

    Attributes:
        name: how messages call φ.
        odd: φ(−x) = −φ(x): the output has mean zero on centered Gaussians.
        closed_form: the expectations are formulas; otherwise they are integrated numerically.
        error: largest relative error that calls since construction were estimated to have, relative to
            √(E[φ(u)²]E[φ(v)²]) and the same of φ'; 0.0 for closed forms, whose error is rounding alone.
        remembered: bytes that may be kept from one call to the next.
    """

    name: str
    odd: bool
    closed_form: bool = True
    error: float = 0.0
    remembered: int = 0

    @abstractmethod
    def covariance(self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """E[φ(u)φ(v)] and, if asked, E[φ'(u)φ'(v)].

        Args:
            c: covariances, of any shape; values beyond ±√(q₁q₂), as rounding makes them, count as the bound.
            q1: variances of u, of a shape that broadcasts against that of c.
            q2: variances of v, likewise.
            derivative: whether the second expectation is wanted; it is ``None`` otherwise.
        """

    def rounded_covariance(
        self, c: Tensor, q1: Tensor, q2: Tensor, derivative: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The same in float64 for results that are rounded to float32 in the end, without gradients.

        The slopes need no more than float32; the covariance must keep its distance from ±√(E[φ(u)²] E[φ(v)²]), on
        whose root the slopes of a next layer may hang.
        """
        return self.covariance(c, q1, q2, derivative)

    @abstractmethod
    def variance(self, q: Tensor, derivative: bool) -> tuple[Tensor, Tensor | None]:
        """The same for u = v exactly: E[φ(u)²] and, if asked, E[φ'(u)²], in the shape of q."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
