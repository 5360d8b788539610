"""What infinite width predicts of an ensemble problem: computed once for all widths of a seed."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor

from ntkgap.data import Dataset
from ntkgap.kernels import infinite_width
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.uncertainty.ensembles.problem import EnsembleProblem
from ntkgap.theory import EnsembleErrors, Gaussian, InfiniteEnsemble, critical_learning_rate, ensemble_floor

# Any width does: in NTK parametrisation the limit does not depend on it.
ANY_WIDTH = 8

# Ensembles drawn from the prediction itself, and the quantile of their errors that is called the floor.
FLOOR_DRAWS, FLOOR_QUANTILE = 200, 0.95


@dataclass(frozen=True)
class Kernel:
    """One kernel on training and test inputs.

    Attributes:
        train: [n, n].
        cross: of test with training inputs, [k, n].
        test: [k, k].
    """

    train: Tensor
    cross: Tensor
    test: Tensor


@dataclass(frozen=True)
class Prediction:
    """What is known of an ensemble before a network is built.

    Attributes:
        train: training set, float64.
        test: test set, float64.
        ntk: Θ.
        nngp: Σ.
        learning_rate: η, a fraction of 2/κ_max(Θ).
        steps: at which the ensemble is compared, T of them.
        ensemble: the members' distribution on the test inputs at those steps.
        floor: errors that ensembles of so many draws from it show, at the quantile, [T] each.
    """

    train: Dataset
    test: Dataset
    ntk: Kernel
    nngp: Kernel
    learning_rate: float
    steps: list[int]
    ensemble: Gaussian
    floor: EnsembleErrors


def predict(problem: EnsembleProblem, seed: int) -> Prediction:
    """The prediction for a seed; the last few are kept.

    Raises:
        NtkgapError: if the data cannot be loaded or no limit is known for the network.
    """
    return _predict(
        problem.model_copy(update={"name": "", "widths": [ANY_WIDTH], "variations": None}).model_dump_json(), seed
    )


@lru_cache(maxsize=8)
def _predict(problem_json: str, seed: int) -> Prediction:
    problem = EnsembleProblem.model_validate_json(problem_json)
    train, test = (d.to(torch.float64) for d in problem.data.load(seed))
    ntk, nngp = _kernels(problem.model, train, test)
    rate = problem.training.fraction_of_critical * critical_learning_rate(ntk.train)
    steps = problem.training.observed_steps
    ensemble = InfiniteEnsemble(ntk.train, nngp.train, train.y)
    decay = ensemble.gradient_descent_decay(rate, torch.tensor(steps))
    predicted = ensemble.predict(decay, ntk.cross, nngp.cross, nngp.test)
    draws = ensemble_floor(predicted, problem.members, FLOOR_DRAWS, Generator().manual_seed(seed))
    floor = EnsembleErrors(*(torch.quantile(v, FLOOR_QUANTILE, dim=0) for v in vars(draws).values()))
    return Prediction(train, test, ntk, nngp, rate, steps, predicted, floor)


def _kernels(model: ModelSpec, train: Dataset, test: Dataset) -> tuple[Kernel, Kernel]:
    network = model.build(train, ANY_WIDTH, Generator().manual_seed(0)).double()
    found = infinite_width(network).kernels(torch.cat([train.x, test.x]))
    n = len(train)
    return tuple(Kernel(k[:n, :n], k[n:, :n], k[n:, n:]) for k in (found.ntk, found.nngp))
