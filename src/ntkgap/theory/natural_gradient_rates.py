"""The convergence theorem of natural gradient descent: its conditions and what it promises.

Source: Zhang, Martens, Grosse 2019, *Fast convergence of natural gradient descent for over-parameterized
neural networks*, Theorem 1. The theorem asks for two things at initialization:

1. λ0 = λ_min(K(θ0)) > 0;
2. a constant 0 ≤ C < ½ with ‖J(θ) − J(θ0)‖₂ ≤ (C/3) √λ0 for all ‖θ − θ0‖₂ ≤ R = 3 ‖y − f(θ0)‖₂ / √λ0.

Then natural gradient descent with a step η ≤ (1 − 2C)/(1 + C)² satisfies ‖r_k‖² ≤ (1 − η)^k ‖r_0‖².
Both are *sufficient* conditions: where they fail, the theorem is silent and its conclusion may still hold.
"""

import math

STABILITY_LIMIT = 0.5


def stability_constant(jacobian_change: float, lambda_min: float) -> float:
    """C′ = 3 ‖J(θ) − J(θ0)‖₂ / √λ0: the constant that condition 2 would need at this θ.

    Measured at some parameters it bounds the theorem's C from below: a value of ½ or more refutes
    condition 2 if θ lies within the radius R; a smaller value confirms nothing about other parameters.

    Args:
        jacobian_change: ‖J(θ) − J(θ0)‖₂.
        lambda_min: λ0; NaN is returned where it is not positive.
    """
    return 3 * jacobian_change / math.sqrt(lambda_min) if lambda_min > 0 else math.nan


def theorem_radius(residual_norm: float, lambda_min: float) -> float:
    """R = 3 ‖y − f(θ0)‖₂ / √λ0, the ball in which condition 2 must hold; NaN where λ0 is not positive."""
    return 3 * residual_norm / math.sqrt(lambda_min) if lambda_min > 0 else math.nan


def largest_learning_rate(stability: float) -> float:
    """(1 − 2C)/(1 + C)², the largest step the theorem allows; 0 where C ≥ ½, NaN where C is.

    With a C′ that was measured at some parameters only, this bounds the allowed step from above.
    """
    if math.isnan(stability):
        return math.nan
    return (1 - 2 * stability) / (1 + stability) ** 2 if stability < STABILITY_LIMIT else 0.0


def guaranteed_decay(learning_rate: float) -> float:
    """1 − η: the theorem's bound on the factor by which ‖r‖² shrinks a step."""
    return 1 - learning_rate


def linearized_decay(learning_rate: float) -> float:
    """(1 − η)²: the factor by which undamped natural gradient shrinks ‖r‖² a step if the kernel is constant."""
    return (1 - learning_rate) ** 2
