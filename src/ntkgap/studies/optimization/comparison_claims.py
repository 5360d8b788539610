"""What second-order training is said to gain over first-order training, and the figures of that comparison."""

from dataclasses import replace

from ntkgap.studies.claim import Claim
from ntkgap.studies.figures import ComparisonFigure, Line, StudyFigure, WidthFigure
from ntkgap.studies.optimization.comparison_spec import LABELS, METHODS, Method

SOURCE = "Zhang, Martens, Grosse 2019 (the promise); Wenger, Dangel, Kristiadi 2023 (put in question)"
INCONCLUSIVE = "neither side reached the target, or the budgets leave open who would be there first"
# Of the relative losses: in float32 they are rounding errors not far below.
FLOOR = 1e-6
COMPARISON = (
    "Steps and target of the optimizer comparison are named above the scorecard. Only networks up to a size take "
    "part, so the claim is judged up to their width. Where one side has not reached the target, what its budget "
    "took stands for it: the ratio is then a bound."
)


def make_comparison_claims() -> list[Claim]:
    """Does natural gradient pay, in steps and in seconds."""
    return [
        Claim(
            key="natural_gradient_steps",
            title="Natural gradient needs fewer steps than first-order training",
            question="Does natural gradient need fewer steps?",
            headline="natural gradient saves steps",
            statement="The best natural gradient reaches the target in fewer steps than the best of gradient "
            "descent, tuned SGD and tuned Adam.",
            source=SOURCE,
            kind="payoff",
            quantity="ngd_steps_ratio",
            label="steps of NGD / of first-order",
            threshold=1.0,
            direction="below",
            criterion="the ratio of steps to the target is below 1",
            prediction="the condition number slows gradient descent, not natural gradient: its rate is (1 − η)²",
            caveat=COMPARISON,
            inconclusive=INCONCLUSIVE,
        ),
        Claim(
            key="natural_gradient_seconds",
            title="Natural gradient needs less time than first-order training",
            question="Does natural gradient need less time?",
            headline="natural gradient saves time",
            statement="The best natural gradient reaches the target in less time than the best of gradient "
            "descent, tuned SGD and tuned Adam.",
            source=SOURCE,
            kind="payoff",
            quantity="seconds_ratio_ngd",
            label="seconds of NGD / of first-order",
            threshold=1.0,
            direction="below",
            criterion="the ratio of seconds to the target is below 1",
            prediction="none: the theory counts steps, and a step costs a solve with nC rows",
            caveat="Read from a clock, the quickest of some equal runs, on the machine and with the threads of "
            "the run: another machine, another verdict. First-order methods train in float32, natural gradient in "
            "float64 as its solves need; its first step includes a look into the network's layers. Tuning is not "
            f"counted, and was for steps. {COMPARISON}",
            inconclusive=INCONCLUSIVE,
        ),
    ]


def make_comparison_figures() -> list[StudyFigure]:
    """Loss over steps and seconds, test loss, and how far the paths' Jacobians drift."""
    how = (
        "Median and range over seeds at the largest width compared. SGD, Adam and K-FAC are tuned to reach the "
        "target in the fewest steps; first-order methods and K-FAC train in float32, natural gradient in float64."
    )
    over_steps = ComparisonFigure(
        key="optimizers_steps",
        title="Optimizers compared: training loss over steps",
        caption=f"{how} Dashed: what the constant kernel K(θ₀) predicts for gradient descent and natural "
        "gradient; dotted: what the infinite-width kernel predicts.",
        x_label="step",
        y_label="loss / loss of zero outputs",
        lines=tuple(
            Line(
                LABELS[method],
                f"race_{method}_loss",
                predicted=f"race_{method}_predicted" if method in ("gd", "ngd") else None,
                limit=f"race_{method}_limit" if method in ("gd", "ngd") else None,
            )
            for method in METHODS
        ),
        floor=FLOOR,
        level="race_target",
        level_label="target",
    )
    return [
        over_steps,
        replace(
            over_steps,
            key="optimizers_seconds",
            title="Optimizers compared: training loss over seconds",
            caption=f"{how} Seconds of the updates alone, medians over seeds, on the machine of the run; "
            "tuning and recording are not counted, looking into the network's layers before the first natural "
            "gradient is.",
            x_label="seconds",
            lines=tuple(_over_seconds(method, "loss") for method in METHODS),
        ),
        replace(
            over_steps,
            key="optimizers_test",
            title="Optimizers compared: test loss over seconds",
            caption=f"{how} Faster on the training set need not be better off it.",
            x_label="seconds",
            y_label="test loss / that of zero outputs",
            level=None,
            lines=tuple(_over_seconds(method, "test") for method in METHODS),
        ),
        WidthFigure(
            key="stability_paths",
            title="Jacobian drift along the paths of three optimizers",
            caption="The largest C′ at the steps that were looked at: all of natural gradient, a few of gradient "
            "descent and, where optimizers are compared, of tuned SGD. The paths differ in length and in where "
            "they end.",
            y_label="C′",
            measured="c_prime",
            references=(("c_prime_gd", "gradient descent"), ("c_prime_sgd", "SGD, momentum")),
            measured_label="natural gradient",
        ),
    ]


def _over_seconds(method: Method, of: str) -> Line:
    return Line(LABELS[method], f"race_{method}_{of}", seconds=f"seconds_race_{method}")
