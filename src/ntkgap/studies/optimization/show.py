"""The optimizer comparison in numbers."""

import math
from collections.abc import Mapping, Sequence

from ntkgap.studies.figures import Table
from ntkgap.studies.measured import Measured
from ntkgap.studies.optimization.comparison_spec import LABELS, METHODS
from ntkgap.studies.words import median_text

# Heading and name of the scalar of a method.
COLUMNS = (
    ("steps to target", "race_{}_steps"),
    ("seconds to target", "seconds_race_{}"),
    ("loss in the end", "race_{}_final"),
    ("test loss in the end", "race_{}_test_final"),
    ("learning rate", "race_{}_learning_rate"),
    ("damping", "race_{}_damping"),
    ("momentum", "race_{}_momentum"),
)


def comparison_table(cells: Mapping[str, Sequence[Measured]]) -> list[Table]:
    """One table a problem with an optimizer comparison, at its largest width that has one; one row a method.

    Args:
        cells: those that are done, by problem.
    """
    tables = []
    for i, (problem, found) in enumerate(cells.items()):
        compared = {c.width for c in found if any(f"race_{method}_steps" in c.scalars for method in METHODS)}
        if not compared:
            continue
        width = max(compared)
        of_width = [c.scalars for c in found if c.width == width]
        tables.append(
            Table(
                key=f"optimizers_{i}",
                title=f"Optimizers at width {width}: {problem}",
                caption="Medians over seeds with intervals. ∞: not reached within the budget, or diverged. –: not "
                "in every seed; the theorem allows no step where C′ ≥ ½. Losses "
                "are fractions of those of a function that is zero. Seconds are of the updates alone, on the "
                "machine of the run.",
                columns=("method", *(heading for heading, _ in COLUMNS)),
                rows=tuple(
                    (LABELS[method], *(_entry(of_width, name.format(method)) for _, name in COLUMNS))
                    for method in METHODS
                    if all(f"race_{method}_steps" in scalars for scalars in of_width)
                ),
            )
        )
    return tables


def _entry(cells: Sequence[Mapping[str, float]], name: str) -> str:
    """Median and interval of a scalar; a dash where not every seed has it."""
    return median_text([scalars.get(name, math.nan) for scalars in cells])
