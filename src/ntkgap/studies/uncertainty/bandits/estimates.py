"""What a bandit cell takes, foretold."""

from typing import TYPE_CHECKING

from ntkgap.studies.estimate import PROCESS_BYTES, Estimate, Work, this_machine
from ntkgap.studies.uncertainty.bandits.rules import WIDTHLESS

if TYPE_CHECKING:
    from ntkgap.studies.uncertainty.bandits.problem import BanditProblem

# Calls of torch functions a layer: in a step of training, and in a round of deciding with gradients.
CALLS_A_STEP, CALLS_A_ROUND = 11, 28
# Matrix products as narrow as a reward network's beside a large one, both counted in float64.
NARROW = 3.0


def estimate(problem: "BanditProblem", inputs: int, outputs: int, width: int) -> Estimate:
    """Operations, memory and time of a cell of this width.

    Args:
        problem: what is played.
        inputs: of the network.
        outputs: of the network.
        width: of its hidden layers.
    """
    rounds, training, depth = problem.data.n_train, problem.training, problem.model.depth
    parameters = inputs * width + (depth - 1) * width**2 + width * outputs
    seen = rounds / 2 if training.batch_size is None else min(training.batch_size, rounds / 2)
    trainings = rounds // training.every
    steps = trainings * training.steps
    learning = Work(NARROW * 6 * parameters * seen * steps, calls=CALLS_A_STEP * (depth + 1) * steps)
    features = inputs + 2 * depth * width + outputs
    arms = max(outputs, 2)
    exploring = Work(
        rounds * rounds * arms * (features + rounds / 3),
        4.0 * rounds * rounds * features,
        CALLS_A_ROUND * (depth + 1) * rounds,
    )
    if problem.gradients == "current":
        exploring += trainings * Work(rounds**2 * (features + rounds / 9))
    networks = len(problem.rules) + sum(len(c) for rule, c in problem.tuned.items() if rule not in WIDTHLESS)
    kernels = sum(len(c) for rule, c in problem.tuned.items() if rule in WIDTHLESS)
    shared = kernels * Work(rounds**3 * arms / 3, 4.0 * rounds**3 / 3, CALLS_A_ROUND * rounds)
    work = networks * (learning + exploring)
    machine = this_machine()
    memory = PROCESS_BYTES + 8.0 * rounds * (features + rounds) + 40.0 * parameters
    once = machine.seconds(shared)
    return Estimate((work + shared).flops, memory, machine.seconds(work) + once, once)
