"""What a reader in a hurry asks of ensembles, answered from the verdicts."""

from collections.abc import Sequence

from ntkgap.studies.figures import Table
from ntkgap.studies.verdict import Verdict


def answers(verdicts: Sequence[Verdict]) -> list[Table]:
    """One row a problem, one column a question."""
    return []
