"""What is drawn and listed of ensemble problems besides the claims."""

from collections.abc import Mapping, Sequence

from ntkgap.studies.figures import BandFigure, BandRow, CurveFigure, StudyFigure, Table, WidthFigure
from ntkgap.studies.measured import Measured
from ntkgap.studies.uncertainty.ensembles.methods import METHODS
from ntkgap.studies.verdict import Verdict
from ntkgap.studies.words import median_text

FLOOR = "floor: 95 % of draws from theory"

# Heading and name of the scalar of a method.
COLUMNS = (
    ("NLL", "nll"),
    ("CRPS", "crps"),
    ("interval score", "interval_score"),
    ("coverage", "coverage"),
    ("width of intervals", "width"),
    ("RMSE", "rmse"),
)


def figures() -> list[StudyFigure]:
    """Bands over one-dimensional inputs; errors over width and over training."""
    errors = (
        ("mean", "mean", "‖m̂ − m‖ / size of a member"),
        ("covariance", "covariance", "‖V̂ − V‖ / ‖V‖"),
        ("wasserstein", "Wasserstein distance", "W₂ / size of a member"),
        ("z_score", "z-scores of the mean", "root mean square z"),
    )
    over_width = [
        WidthFigure(
            key=f"ensemble_{name}_errors",
            title=f"Ensembles against theory: {what}",
            caption="After training, and after the first observed steps. Below the floor M members cannot be told "
            "from M draws of the predicted Gaussian; it falls with M, not with the width.",
            y_label=label,
            measured=f"ensemble_{name}",
            references=(
                (f"ensemble_{name}_floor", FLOOR),
                (f"ensemble_{name}_early", "measured early in training"),
                (f"ensemble_{name}_floor_early", "floor early in training"),
            ),
            measured_label="measured in the end",
        )
        for name, what, label in errors
    ]
    over_training = [
        CurveFigure(
            key=f"ensemble_{name}_curves",
            title=f"Ensembles against theory while they are trained: {what}",
            caption="Median and range over seeds. Dashed: the floor that so many members leave.",
            x_label="step",
            y_label=label,
            measured=f"ensemble_{name}",
            predicted=f"ensemble_{name}_floor",
            predicted_label=FLOOR,
            x="ensemble_steps",
        )
        for name, what, label in errors[1:3]
    ]
    return [_bands(), *over_width, *over_training]


def _bands() -> BandFigure:
    return BandFigure(
        key="bands",
        title="What the methods know, and where they know that they do not",
        caption="Mean ± 2 standard deviations of the function, noise of observations not included, after "
        "training. Dashed: the method's limit, which the last column fills. The randomized-prior ensemble's limit "
        "is that of training to convergence. At infinite width the covariance of the linearized Laplace "
        "approximation is the NTK-GP's of the same precision and noise; its mean is a single network's, which "
        "starts at random.",
        x_label="angle of the input",
        rows=(
            BandRow("deep ensemble", "deep_ensemble", "infinite_ensemble", "infinite ensemble"),
            BandRow("randomized priors", "prior_ensemble", "infinite_prior", "infinite ensemble with priors"),
            BandRow(
                "linearized Laplace",
                "laplace_evidence",
                "ntk_gp_evidence",
                "NTK-GP, evidence",
                "nngp_evidence",
                "NNGP, evidence",
            ),
        ),
    )


def tables(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """Scores of every method, one table a problem, at its largest width.

    Args:
        cells: those that are done, by problem.
        verdicts: of all claims; not needed.
    """
    ensembles = {p: [c for c in found if c.cell["kind"] == "ensemble"] for p, found in cells.items()}
    found = []
    for i, (problem, of_problem) in enumerate(ensembles.items()):
        if not of_problem:
            continue
        width = max(c.width for c in of_problem)
        scalars = [c.scalars for c in of_problem if c.width == width]
        found.append(
            Table(
                key=f"calibration_{i}",
                title=f"Calibration at width {width}: {problem}",
                caption="On test targets; medians over seeds with intervals; all but coverage better small, and "
                "coverage best near 0.95. NTK-GP and NNGP have the noise of their own greatest evidence at prior "
                "precision 1, sought down to 10⁻⁴ of the targets' mean square. Ensembles and Laplace with δ = 1 "
                "take over the NNGP's, as they have none of their own; Laplace by evidence has its own. NLL in "
                "nats, CRPS, scores and widths in the unit of the targets.",
                columns=("method", *(heading for heading, _ in COLUMNS)),
                rows=score_rows(METHODS, scalars),
            )
        )
    return found


def score_rows(methods: Mapping[str, str], scalars: Sequence[Mapping[str, float]]) -> tuple[tuple[str, ...], ...]:
    """A row of scores a method, medians over cells.

    Args:
        methods: their labels, by name.
        scalars: of the cells.
    """
    return tuple(
        (label, *(median_text([s[f"{name}_{score}"] for s in scalars]) for _, score in COLUMNS))
        for name, label in methods.items()
    )
