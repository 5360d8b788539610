"""One cell of the uncertainty study, handed to the kind of problem it is of."""

from collections.abc import Callable
from typing import Any

from ntkgap.studies.findings import Findings
from ntkgap.studies.uncertainty.bandits.cell import compute_bandit
from ntkgap.studies.uncertainty.ensembles.cell import compute_ensemble
from ntkgap.studies.uncertainty.study import problem_of

COMPUTE: dict[str, Callable[..., Findings]] = {"bandit": compute_bandit, "ensemble": compute_ensemble}


def compute(cell: dict[str, Any]) -> dict[str, Any]:
    """Measure one cell; the same configuration always gives the same numbers.

    Args:
        cell: configuration made by ``UncertaintyStudy.cells``.

    Returns:
        ``scalars``, ``curves``, ``notes`` and ``diverged``. A scalar is NaN where it could not be decided and
        infinite where training diverged.
    """
    return COMPUTE[cell["kind"]](problem_of(cell), cell["width"], cell["seed"]).result()
