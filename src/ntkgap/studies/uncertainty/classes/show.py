"""What is drawn and listed of classification problems besides the claims."""

from collections.abc import Mapping, Sequence

from ntkgap.studies.figures import StudyFigure, Table, WidthFigure
from ntkgap.studies.measured import Measured
from ntkgap.studies.uncertainty.classes.methods import METHODS
from ntkgap.studies.verdict import Verdict
from ntkgap.studies.words import median_text

# Heading and name of the scalar of a method.
COLUMNS = (("NLL", "nll"), ("Brier score", "brier"), ("ECE", "ece"), ("accuracy", "accuracy"))


def figures() -> list[StudyFigure]:
    """Scores over width."""
    return [
        WidthFigure(
            key=f"class_{what}",
            title=f"Classes: {label} on test data",
            caption="Of Laplace with the prior precision of the greatest evidence (probit), its network alone, "
            "the deep ensemble, and the NTK-GP.",
            y_label=label,
            measured=f"class_laplace_evidence_{what}",
            references=(
                (f"class_network_{what}", "its network"),
                (f"class_ensemble_{what}", "deep ensemble"),
                (f"class_ntk_gp_evidence_{what}", "NTK-GP, evidence"),
            ),
            measured_label="linearized Laplace, evidence",
        )
        for label, what in COLUMNS[::2]
    ]


def tables(cells: Mapping[str, Sequence[Measured]], verdicts: Sequence[Verdict]) -> list[Table]:
    """Scores of every method, one table a problem, at its largest width.

    Args:
        cells: those that are done, by problem.
        verdicts: of all claims; not needed.
    """
    classes = {p: [c for c in found if c.cell["kind"] == "classification"] for p, found in cells.items()}
    found = []
    for i, (problem, of_problem) in enumerate(classes.items()):
        if not of_problem:
            continue
        width = max(c.width for c in of_problem)
        scalars = [c.scalars for c in of_problem if c.width == width]
        found.append(
            Table(
                key=f"class_calibration_{i}",
                title=f"Class probabilities at width {width}: {problem}",
                caption="On test data; medians over seeds with intervals; all but accuracy better small. NLL in "
                "nats, Brier score between 0 and 2, expected calibration error with 15 bins. Laplace is taken "
                "around the first member of the ensemble, its prior around that member's start.",
                columns=("method", *(heading for heading, _ in COLUMNS)),
                rows=tuple(
                    (label, *(median_text([s[f"{name}_{score}"] for s in scalars]) for _, score in COLUMNS))
                    for name, label in METHODS.items()
                ),
            )
        )
    return found
