"""What an ensemble cell takes, foretold."""

from typing import TYPE_CHECKING

from ntkgap.studies.estimate import PROCESS_BYTES, Estimate, Work, this_machine

if TYPE_CHECKING:
    from ntkgap.studies.uncertainty.ensembles.problem import EnsembleProblem


def estimate(problem: "EnsembleProblem", width: int) -> Estimate:
    """Operations, memory and time of a cell of this width."""
    work = Work(6.0 * width * problem.members * problem.data.n_train * problem.training.steps)
    return Estimate(work.flops, PROCESS_BYTES, this_machine().seconds(work))
