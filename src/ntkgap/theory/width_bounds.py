"""Published bounds on the width of networks that gradient methods train to zero loss, as formulas.

Constants are 1 and logarithms are left out. Notation: n inputs of unit norm with matrix X, λ0 = λ_min(H^∞), φ the
smallest distance of two inputs, w ~ N(0, ν²I), δ the probability of failure, L hidden layers.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """The quantities that bounds depend on."""

    n: int
    lambda_min: float  # λ0
    separation: float  # φ
    norm: float  # ‖X‖₂
    nu: float  # ν
    delta: float  # δ
    depth: int  # L


@dataclass(frozen=True)
class Bound:
    """One theorem; attributes as in ``WidthBound``, the width as a function of the problem."""

    name: str
    source: str
    formula: str
    width: Callable[[Problem], float]
    applies_to: str
    exact: bool


SHALLOW = "shallow ReLU, hidden layer trained"


def _deep_smooth(p: Problem) -> float:
    """2^L max(n⁴/λ0⁴, n/δ, n²/λ0²); the terms with λ0 make it NaN where λ0 is."""
    n, ratio = float(p.n), p.n / p.lambda_min
    return 2.0**p.depth * (ratio if ratio != ratio else max(ratio**4, n / p.delta, ratio**2))


BOUNDS = (
    Bound(
        "Du et al. 2019a",
        "Gradient descent provably optimizes over-parameterized neural networks, theorems 3.2 and 4.1",
        "n⁶/(λ0⁴δ³)",
        lambda p: float(p.n) ** 6 / (p.lambda_min**4 * p.delta**3),
        f"{SHALLOW}; gradient descent",
        True,
    ),
    Bound(
        "Zhang et al. 2019",
        "Fast convergence of natural gradient descent for over-parameterized neural networks, theorem 3",
        "n⁴/(ν²λ0⁴δ³)",
        lambda p: float(p.n) ** 4 / (p.nu**2 * p.lambda_min**4 * p.delta**3),
        f"{SHALLOW}; natural gradient descent",
        True,
    ),
    Bound(
        "Song & Yang 2019",
        "Quadratic suffices for over-parametrization via matrix Chernoff bound, worst case",
        "n⁴/λ0⁴",
        lambda p: (p.n / p.lambda_min) ** 4,
        f"{SHALLOW}; gradient descent",
        False,
    ),
    Bound(
        "Munteanu et al. 2022",
        "Bounding the width of neural networks via coupled initialization: a worst case analysis",
        "n²/λ0²",
        lambda p: (p.n / p.lambda_min) ** 2,
        f"{SHALLOW}, units in pairs that cancel; gradient descent",
        False,
    ),
    Bound(
        "Oymak & Soltanolkotabi 2020",
        "Toward moderate overparameterization: global convergence guarantees for training shallow networks",
        "n‖X‖⁶/λ0⁴",
        lambda p: p.n * p.norm**6 / p.lambda_min**4,
        f"{SHALLOW}; gradient descent",
        True,
    ),
    Bound(
        "Allen-Zhu et al. 2019",
        "A convergence theory for deep learning via over-parameterization, theorem 1",
        "n²⁴L¹²/φ⁸",
        lambda p: float(p.n) ** 24 * float(p.depth) ** 12 / p.separation**8,
        "deep ReLU, hidden layers trained; gradient descent",
        False,
    ),
    Bound(
        "Zou & Gu 2019",
        "An improved analysis of training over-parameterized deep neural networks",
        "n⁸L¹²/φ⁴",
        lambda p: float(p.n) ** 8 * float(p.depth) ** 12 / p.separation**4,
        "deep ReLU, hidden layers trained; gradient descent",
        False,
    ),
    Bound(
        "Du et al. 2019b",
        "Gradient descent finds global minima of deep neural networks; λ0 stands in for the deep kernel's",
        "2ᴸ max(n⁴/λ0⁴, n/δ, n²/λ0²)",
        _deep_smooth,
        "deep, smooth nonlinearity; gradient descent",
        False,
    ),
    Bound(
        "Nguyen 2021, linear",
        "On the proof of global convergence of gradient descent for deep ReLU networks with linear widths",
        "n",
        lambda p: float(p.n),
        "deep ReLU, one wide layer, an initialization made for it; gradient descent",
        False,
    ),
    Bound(
        "Nguyen 2021, cubic",
        "On the proof of global convergence of gradient descent for deep ReLU networks with linear widths",
        "n³",
        lambda p: float(p.n) ** 3,
        "deep ReLU, one wide layer, usual initialization; gradient descent",
        False,
    ),
    Bound(
        "Bombari et al. 2022",
        "Memorization and optimization in deep neural networks with minimum over-parameterization",
        "√n",
        lambda p: float(p.n) ** 0.5,
        "deep, smooth nonlinearity, random inputs, layers that get narrower; gradient descent",
        False,
    ),
)
