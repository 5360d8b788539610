"""What the kernel regime says of a training run, as claims that a measurement can refute."""

from functools import partial

from pydantic import Field

from ntkgap.studies.claim import Claim
from ntkgap.studies.diagnosis.ensemble import ensemble_claims
from ntkgap.studies.diagnosis.forgetting import forgetting_claims
from ntkgap.studies.spec import Spec

# What stores call the linearized model.
NAMES = {"twin": "linearized"}


class Tolerances(Spec):
    """How close is close enough; conventions, not theorems.

    Attributes:
        limit: of the kernel at the start, relative to the infinite-width kernel.
        kernel: of the kernel's change, relative.
        gap: of the linearization gap.
        curve: of the training loss, relative to the initial one.
        prediction: of the predictions on test points, relative to what training changed.
        loss: by which factor a test loss may exceed the network's.
        learned: fraction by which the training loss has to fall, for anything to be said.
        moved: fraction of the way to the targets that outputs have to move, for the same.
    """

    limit: float = Field(default=0.1, gt=0)
    kernel: float = Field(default=0.1, gt=0)
    gap: float = Field(default=0.1, gt=0)
    curve: float = Field(default=0.05, gt=0)
    prediction: float = Field(default=0.1, gt=0)
    loss: float = Field(default=1.1, gt=1)
    learned: float = Field(default=0.1, gt=0, lt=1)
    moved: float = Field(default=0.05, gt=0, lt=1)


def make_claims(tolerances: Tolerances) -> list[Claim]:
    """The claims of a diagnosis: whether anything can be said, whether the regime holds, what is gained by it."""
    return [
        *_of_training(tolerances),
        *_of_regime(tolerances),
        *_of_predictions(tolerances),
        *_of_tests(tolerances),
        *ensemble_claims(),
        *forgetting_claims(),
    ]


def _of_training(tolerances: Tolerances) -> list[Claim]:
    return [
        Claim(
            key="learned",
            title="The network was trained enough to tell",
            statement="The training loss has fallen: a network that learns nothing is close to any model of it.",
            source="a convention",
            kind="requirement",
            quantity="loss_fall",
            label="(L_0 − L_T) / L_0",
            threshold=tolerances.learned,
            direction="above",
            criterion=f"the training loss has fallen by more than {tolerances.learned:.0%}",
            prediction="none",
            log_scale=False,
        ),
        Claim(
            key="moved",
            title="The outputs moved toward the targets",
            statement="‖f_T − f_0‖ is no small fraction of ‖y − f_0‖ on the training set.",
            source="a convention",
            kind="requirement",
            quantity="moved",
            label="‖f_T − f_0‖ / ‖y − f_0‖",
            threshold=tolerances.moved,
            direction="above",
            criterion=f"the outputs moved by more than {tolerances.moved:.0%} of their distance from the targets",
            prediction="none",
        ),
        Claim(
            key="stable",
            title="The step size is stable in the kernel regime",
            statement="η·κ_max(K) stays below 2(1 + μ), at the start and at the end.",
            source="Cohen et al. 2021 (edge of stability); Lewkowycz et al. 2020",
            kind="requirement",
            quantity="stability",
            label="η κ_max / (2 (1 + μ))",
            threshold=1.0,
            direction="below",
            criterion="it is below 1 at the start and at the end",
            prediction="1 is the edge of stability",
            caveat="Past 1 the linearized model diverges: a network that learns all the same has left the kernel "
            "regime. Minibatches make the largest stable step smaller still.",
            optional=True,
        ),
    ]


def _of_regime(tolerances: Tolerances) -> list[Claim]:
    matched = "Measured after this training: another length of training, another verdict."
    shrinks = "shrinks like m^(−1/2) in NTK and standard parametrization, not in mean-field and μP"
    gap = partial(
        Claim,
        statement="f_T is f_0 + J_0(θ_T − θ_0), to first order in the parameters: one Jacobian-vector product.",
        source="Chizat, Oyallon, Bach 2019; Lee et al. 2019, Theorem 2.1",
        kind="consequence",
        threshold=tolerances.gap,
        direction="below",
        criterion=f"what is not linear is below {tolerances.gap:.0%} of what training changed",
        prediction=shrinks,
        caveat=matched,
        exponent=-0.5,
        optional=True,
    )
    label = "‖f_T − f_0 − J_0(θ_T − θ_0)‖ / ‖f_T − f_0‖"
    return [
        Claim(
            key="kernel_at_limit",
            title="The kernel at the start is that of infinite width",
            statement="K(θ₀) no longer depends on the random weights: it is Θ, from the recursion over layers.",
            source="Jacot, Gabriel, Hongler 2018, Theorem 1; Arora et al. 2019, Theorem 3.1",
            kind="consequence",
            quantity="limit_distance",
            label="‖K(θ₀) − Θ‖ / ‖Θ‖",
            threshold=tolerances.limit,
            direction="below",
            criterion=f"the relative distance is below {tolerances.limit:.0%}",
            prediction="shrinks like m^(−1/2)",
            inconclusive="no infinite-width kernel is known for the network",
            exponent=-0.5,
            optional=True,
        ),
        Claim(
            key="kernel_constant",
            title="The kernel is nearly constant during training",
            statement="‖K(θ_T) − K(θ₀)‖_F is small against ‖K(θ₀)‖_F.",
            source="Jacot, Gabriel, Hongler 2018, Theorem 2; Lee et al. 2019",
            kind="consequence",
            quantity="kernel_change",
            label="‖K_T − K_0‖ / ‖K_0‖",
            threshold=tolerances.kernel,
            direction="below",
            criterion=f"the relative change is below {tolerances.kernel:.0%}",
            prediction=shrinks,
            caveat=matched,
            exponent=-0.5,
        ),
        gap(
            key="linearization_gap",
            title="The trained network is linear in its parameters",
            quantity="linearization_gap",
            label=label,
        ),
        gap(
            key="linearization_gap_test",
            title="The trained network is linear on test points, too",
            quantity="linearization_gap_test",
            label=f"{label} on test points",
        ),
    ]


def _of_predictions(tolerances: Tolerances) -> list[Claim]:
    source = "Lee et al. 2019, Theorem 2.1"
    return [
        Claim(
            key="training_curve",
            title="The training loss is as the kernel predicts",
            statement="L_t is the loss of the linearized model after the same steps on the same batches.",
            source=source,
            kind="consequence",
            quantity="curve_gap",
            label="sup over t of |L_t − L̂_t| / L_0",
            threshold=tolerances.curve,
            direction="below",
            criterion=f"the largest gap is below {tolerances.curve:.0%} of the initial loss",
            prediction="shrinks like m^(−1/2)",
            exponent=-0.5,
            optional=True,
        ),
        Claim(
            key="test_predictions",
            title="Test predictions are as the kernel predicts",
            statement="On test points f_T is that of the linearized model after the same steps.",
            source=source,
            kind="consequence",
            quantity="prediction_gap",
            label="‖f_T − f_T^lin‖ / ‖f_T^lin − f_0‖ on test points",
            threshold=tolerances.prediction,
            direction="below",
            criterion=f"the difference is below {tolerances.prediction:.0%} of what training changed",
            prediction="shrinks like m^(−1/2)",
            exponent=-0.5,
            optional=True,
        ),
    ]


def _of_tests(tolerances: Tolerances) -> list[Claim]:
    how = (
        "Kernel regression uses the mean kernel over outputs and stops where it fits the training targets as "
        "closely as the network."
    )
    claims = []
    for number, title, what, caveat in (
        ("twin", "The linearized model generalizes as well as the network", "linearized model", ""),
        (
            "kernel_start",
            "Kernel regression with K(θ₀) generalizes as well as the network",
            "regression with K(θ₀)",
            how,
        ),
        (
            "kernel_end",
            "Kernel regression with K(θ_T) generalizes as well as the network",
            "regression with K(θ_T)",
            how,
        ),
    ):
        claims.append(
            Claim(
                key=f"{NAMES.get(number, number)}_generalizes",
                title=title,
                statement=f"The test loss of the {what} is hardly above the network's.",
                source="Fort et al. 2020; Ortiz-Jiménez et al. 2021; Vyas et al. 2022",
                kind="payoff",
                quantity=f"{number}_test_ratio",
                label=f"test loss, {what} / network",
                threshold=tolerances.loss,
                direction="below",
                criterion=f"its test loss is below {tolerances.loss:g} times the network's",
                prediction="1 in the kernel regime",
                caveat=caveat,
                optional=True,
            )
        )
    return claims
