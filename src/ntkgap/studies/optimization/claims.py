"""What the kernel regime promises about optimization, as claims that a measurement can refute."""

from pydantic import AliasChoices, Field

from ntkgap.studies.claim import Claim
from ntkgap.studies.figures import CurveFigure, WidthFigure
from ntkgap.studies.spec import Spec
from ntkgap.theory import STABILITY_LIMIT

# The rate of natural gradient descent is judged over so many first steps, the same of every network: with hardly
# any residual left a network contracts as predicted, whatever it did before.
RATE_STEPS = 8


class Tolerances(Spec):
    """How close is close enough; conventions, not theorems.

    Attributes:
        rate: of natural gradient's rate, relative.
        curve: of the training curve, relative to the initial residual.
        kernel: of the kernel's change, relative.
        linearized: of the trained network's predictions, relative to what training changed.
        limit: of the kernel at initialization, relative to the infinite-width kernel.
    """

    rate: float = Field(default=0.1, gt=0)
    curve: float = Field(default=0.05, gt=0)
    kernel: float = Field(default=0.1, gt=0)
    linearized: float = Field(default=0.1, gt=0, validation_alias=AliasChoices("linearized", "twin"))
    limit: float = Field(default=0.1, gt=0)


def make_claims(tolerances: Tolerances) -> list[Claim]:
    """The claims of the optimization study: the conditions of the theorem, then what infinite width promises."""
    below_floor = "λ_min is below the noise floor of float64"
    matched = "Measured after the training named above the scorecard: another length of training, another verdict."
    return [
        Claim(
            key="gram_positive_definite",
            title="The Gram matrix is positive definite at initialization",
            question="Can all training outputs change independently at the start (a condition)?",
            statement="λ_min(K(θ₀)) > 0: the outputs on all training examples can change independently.",
            source="Zhang, Martens, Grosse 2019, Theorem 1, condition 1",
            kind="condition",
            quantity="gram_margin",
            label="λ_min / noise floor",
            threshold=1.0,
            direction="above",
            criterion="λ_min is above the noise floor of the arithmetic, nC·ε·λ_max",
            prediction="infinitely wide networks on distinct inputs: positive",
            caveat="Below the floor λ_min may be zero or merely small: that is inconclusive, not a failure. "
            "It fails for certain only where there are fewer parameters than rows.",
            inconclusive=below_floor,
        ),
        Claim(
            key="jacobian_stable",
            title="The Jacobian is stable along the natural-gradient path",
            question="Is the theorem's condition met along the path?",
            headline="the theorem's condition for speed, along the path",
            statement="C′ = 3‖J(θ) − J(θ₀)‖₂/√λ_min(K(θ₀)) stays below ½ along the path.",
            source="Zhang, Martens, Grosse 2019, Theorem 1, condition 2",
            kind="condition",
            quantity="c_prime",
            label="C′, largest on the path",
            threshold=STABILITY_LIMIT,
            direction="below",
            criterion="the largest C′ on the path is below ½, the theorem's limit",
            prediction="shallow network, hidden layer trained: C′ ∝ m^(−1/4) for ReLU, m^(−1/2) for smooth units",
            caveat="The condition is about a whole ball of parameters; the path is one curve in it. A C′ of ½ or "
            "more on the path refutes the condition; a smaller one does not confirm it. And the condition is "
            "sufficient: where it is not met, natural gradient may still be fast: see the claim "
            "'Natural gradient descent follows its predicted rate'. The "
            "theorem also limits the step size, η ≤ (1 − 2C)/(1 + C)²: see the figure below.",
            inconclusive=f"{below_floor}, or the path ended early",
            slowest_exponent=-0.25,
        ),
        Claim(
            key="jacobian_stable_in_ball",
            title="The Jacobian is stable in the theorem's whole ball",
            question="Do gradients change little anywhere near the start (a condition)?",
            statement="C′ stays below ½ for all ‖θ − θ₀‖ ≤ R = 3‖f(θ₀) − y‖/√λ_min(K(θ₀)).",
            source="Zhang, Martens, Grosse 2019, Theorem 1, condition 2",
            kind="condition",
            quantity="c_prime_ball_refutes",
            label="C′, largest found in the ball",
            threshold=STABILITY_LIMIT,
            direction="below",
            criterion="no parameters of the ball are found at which C′ is ½ or more",
            prediction="shallow network, hidden layer trained: it holds from some width on",
            caveat="What is found, on the path or by search, is a lower bound: it can refute the condition, never "
            "confirm it. Where nothing of ½ or more is found, nothing is decided. Networks that the preset does "
            "not search (for their size, or at all) show the path alone, which may be far less.",
            inconclusive=f"{below_floor}, or no C′ of ½ or more was found in the ball, which confirms nothing",
            slowest_exponent=-0.25,
        ),
        Claim(
            key="kernel_at_limit",
            title="The kernel at initialization is that of infinite width",
            question="Is the kernel at the start that of infinite width?",
            statement="K(θ₀) no longer depends on the random weights: it is Θ, from the recursion over layers.",
            source="Jacot, Gabriel, Hongler 2018, Theorem 1; Arora et al. 2019, Theorem 3.1",
            kind="consequence",
            quantity="limit_distance",
            label="‖K(θ₀) − Θ‖ / ‖Θ‖",
            threshold=tolerances.limit,
            direction="below",
            criterion=f"the relative distance is below {tolerances.limit:.0%}",
            prediction="shrinks like m^(−1/2)",
            caveat="The distance of single networks, not of their mean, which is closer. In standard "
            "parametrization Θ grows with the width and is taken at the width of each network.",
            inconclusive="no infinite-width kernel is known for the network",
            exponent=-0.5,
        ),
        Claim(
            key="ngd_rate",
            title="Natural gradient descent follows its predicted rate",
            question="Is natural gradient descent as fast as predicted?",
            statement="The squared residual shrinks by (1 − η)² a step (for damping λ: as the kernel predicts).",
            source="Zhang, Martens, Grosse 2019, section 3; linearized dynamics",
            kind="consequence",
            quantity="ngd_rate_error_worst",
            label="relative error of the predicted rate, worst step",
            threshold=tolerances.rate,
            direction="below",
            criterion=f"in each of the first {RATE_STEPS} steps the log of the measured decay is within "
            f"{tolerances.rate:.0%} of the predicted one",
            prediction="no error at infinite width",
            caveat="The mean error over more steps is smaller: with hardly any residual left a network contracts "
            "as predicted. So the worst step is judged, of the same number of steps for all networks. A run that "
            "diverges, or whose Gram matrix turns singular, counts as infinite error.",
            inconclusive=below_floor,
        ),
        Claim(
            key="gd_curve",
            title="Gradient descent follows the kernel's predicted loss curve",
            question="Does the training loss fall as predicted?",
            headline="the loss falls as predicted",
            statement="√L_t follows the curve of the constant kernel K(θ₀) at every step.",
            source="Jacot, Gabriel, Hongler 2018; Lee et al. 2019, Theorem 2.1",
            kind="consequence",
            quantity="gd_discrepancy",
            label="sup over t of |√L_t − √L̂_t| / √L_0",
            threshold=tolerances.curve,
            direction="below",
            criterion=f"the largest gap of the curves is below {tolerances.curve:.0%} of the initial residual",
            prediction="shrinks like m^(−1/2)",
            caveat=matched,
            exponent=-0.5,
        ),
        Claim(
            key="kernel_constant",
            title="The kernel is nearly constant in training",
            question="Is the kernel nearly constant in training?",
            statement="‖K(θ_T) − K(θ₀)‖_F is small against ‖K(θ₀)‖_F after gradient descent.",
            source="Jacot, Gabriel, Hongler 2018, Theorem 2; Lee et al. 2019",
            kind="consequence",
            quantity="kernel_change",
            label="‖K_T − K_0‖ / ‖K_0‖",
            threshold=tolerances.kernel,
            direction="below",
            criterion=f"the relative change is below {tolerances.kernel:.0%}",
            prediction="shrinks at least like m^(−1/2)",
            caveat=matched,
            exponent=-0.5,
        ),
        Claim(
            key="linearized_model",
            title="The trained network predicts what its linearized model predicts",
            question="Does it predict what its linearized model does?",
            headline="networks predict what their linearized models do",
            statement="On test points, f_T agrees with the linearized model trained for the same time.",
            source="Lee et al. 2019, Theorem 2.1",
            kind="consequence",
            quantity="linearization_error",
            label="‖f_T − f_T^lin‖ / ‖f_T^lin − f_0‖ on test points",
            threshold=tolerances.linearized,
            direction="below",
            criterion=f"the difference is below {tolerances.linearized:.0%} of what training changed",
            prediction="shrinks like m^(−1/2)",
            caveat=matched,
            exponent=-0.5,
        ),
    ]


def make_figures() -> list[WidthFigure | CurveFigure]:
    """The study's numbers over width, and its curves over training."""
    return [
        WidthFigure(
            key="ngd_decay",
            title="How fast natural gradient descent is",
            caption="Factor by which the squared residual shrinks a step. The constant kernel predicts (1 − η)²; "
            "the theorem promises 1 − η or less where all its conditions hold, that on the step size included.",
            y_label="‖r‖² factor a step",
            measured="ngd_decay",
            references=(
                ("ngd_decay_predicted", "theory: constant kernel"),
                ("ngd_decay_guaranteed", "theorem, if it applies"),
            ),
        ),
        WidthFigure(
            key="rate_errors",
            title="How far natural gradient descent is from its predicted rate",
            caption=f"Relative error of the logarithm of the decay: worst and first step, and the mean, over the "
            f"first {RATE_STEPS} steps.",
            y_label="relative error",
            measured="ngd_rate_error_worst",
            references=(("ngd_rate_error_first", "first step"), ("ngd_rate_error", "mean")),
        ),
        WidthFigure(
            key="step_size",
            title="The largest step the theorem can allow",
            caption="(1 − 2C)/(1 + C)² with the C′ measured on the path, which bounds the allowed step from "
            "above; none is allowed where C′ ≥ ½. Where the step taken is larger, the theorem promises nothing.",
            y_label="η",
            measured="theorem_learning_rate",
            references=(("ngd_learning_rate", "step taken"),),
        ),
        WidthFigure(
            key="lambda_min",
            title="Smallest eigenvalue of the Gram matrix at initialization",
            caption="Below the noise floor of the arithmetic an eigenvalue may be zero or merely small.",
            y_label="λ_min(K(θ₀))",
            measured="lambda_min",
            references=(("limit_lambda_min", "theory: infinite width"), ("noise_floor", "noise floor")),
        ),
        WidthFigure(
            key="condition_number",
            title="Condition number of the Gram matrix at initialization",
            caption="λ_max / λ_min: how many times longer gradient descent takes for the slowest direction than "
            "for the fastest.",
            y_label="κ(K(θ₀))",
            measured="condition_number",
            references=(("limit_condition_number", "theory: infinite width"),),
        ),
        WidthFigure(
            key="distance",
            title="How far natural gradient descent moves the parameters",
            caption="The distance traveled, beside the radius R of the ball in which the theorem wants a stable "
            "Jacobian.",
            y_label="‖θ − θ₀‖",
            measured="ngd_distance",
            references=(("theorem_radius", "theory: radius R"), ("initial_norm", "‖θ₀‖")),
        ),
        WidthFigure(
            key="stability_ball",
            title="How unstable the Jacobian is in the theorem's ball",
            caption="The largest C′ found in the ball of radius R, on the path or by search where the preset asks "
            "for one: a lower bound of what the theorem wants below ½. Larger networks than the preset searches "
            "show the path alone, which is drawn beside it.",
            y_label="C′",
            measured="c_prime_ball",
            references=(("c_prime", "on the path"),),
        ),
        CurveFigure(
            key="ngd_curves",
            title="Natural gradient descent: predicted and measured",
            caption="Squared residual relative to its start; median and range over seeds. Dashed: what the "
            "constant kernel predicts, (1 − η)² a step without damping.",
            x_label="step",
            y_label="‖r‖² / ‖r₀‖²",
            measured="ngd_loss",
            predicted="ngd_loss_predicted",
        ),
        CurveFigure(
            key="stability_curves",
            title="Jacobian drift along the natural-gradient path",
            caption="C′ after each step; median and range over seeds. The theorem needs it below ½ in a ball.",
            x_label="step",
            y_label="C′",
            measured="ngd_c_prime",
            level=STABILITY_LIMIT,
            level_label="theorem: below ½",
        ),
        CurveFigure(
            key="gd_curves",
            title="Gradient descent: predicted and measured",
            caption="Squared residual relative to its start; median and range over seeds. Dashed: what the "
            "constant kernel K(θ₀) predicts at the same step; dotted: what Θ predicts, from the residuals of the "
            "widest networks.",
            x_label="step",
            y_label="‖r‖² / ‖r₀‖²",
            measured="gd_loss",
            predicted="gd_loss_predicted",
            limit="gd_loss_limit",
        ),
    ]
