"""The exploration rules that a bandit problem can play: their names, and what a reader calls them."""

from typing import Literal

Tuned = Literal["ucb", "thompson", "diagonal", "lin_ucb", "lin_ts", "ntk_ucb", "nngp_ucb"]
"""Rules with a constant of their own, tried at several values."""

Fixed = Literal[
    "theory",
    "limit",
    "evidence",
    "laplace_greedy",
    "laplace_ts",
    "neural_linear",
    "ensemble_ts",
    "epsilon_greedy",
    "greedy",
]
"""Rules that come with all their settings."""

LABELS: dict[str, str] = {
    "theory": "NeuralUCB, theory's γ_t",
    "limit": "NeuralUCB, γ_t at infinite width",
    "ucb": "NeuralUCB, tuned constant γ",
    "evidence": "Laplace-UCB, evidence",
    "laplace_greedy": "Laplace, evidence, no bonus",
    "laplace_ts": "Laplace-TS, evidence",
    "thompson": "NeuralTS, tuned constant ν",
    "diagonal": "NeuralUCB, diagonal Z, tuned",
    "neural_linear": "NeuralLinear",
    "ensemble_ts": "ensemble TS",
    "ntk_ucb": "NTK-UCB, tuned β",
    "nngp_ucb": "NNGP-UCB, tuned β",
    "lin_ucb": "LinUCB, tuned",
    "lin_ts": "LinTS, tuned",
    "epsilon_greedy": "ε-greedy network",
    "greedy": "greedy network",
}

# What these do has nothing to do with the width of a network.
OF_LIMIT: tuple[Tuned, ...] = ("ntk_ucb", "nngp_ucb")
WIDTHLESS: tuple[Tuned, ...] = ("lin_ucb", "lin_ts", *OF_LIMIT)

# What explores by theory's schedule, which is of an MLP in NTK parametrization.
OF_THEORY: tuple[Fixed, ...] = ("theory", "limit")


def tuned_name(rule: str, constant: float) -> str:
    """Name of one candidate of a tuned rule."""
    return f"{rule}_{constant:g}"


def scalar_name(rule: str, of: str) -> str:
    """Name of a rule's number or curve in a cell's result: of ``"regret"``, ``"coverage"`` and the like."""
    return f"bandit_{rule}_{of}"
