"""What kernels say of a stream: the scores of every task after every task, at every training budget."""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from ntkgap.data import TaskStream
from ntkgap.errors import StudyError
from ntkgap.kernels import NTKOperator, infinite_width
from ntkgap.models import learning_rate_factor
from ntkgap.models.devices import in_float64
from ntkgap.one_line import one_line
from ntkgap.practice.checks import check_training, rate_of_each
from ntkgap.practice.continual import AccuracyMatrix
from ntkgap.studies import device
from ntkgap.studies.continual.overlap import NotedKernel
from ntkgap.studies.continual.points import Points
from ntkgap.studies.continual.problem import ContinualProblem
from ntkgap.studies.continual.task_kernels import Kernel, finite_kernel, limit_kernel
from ntkgap.studies.model import OwnModel
from ntkgap.theory import KernelModes, SequentialRegression

# Any width does: in NTK parametrization the limit does not depend on it.
ANY_WIDTH = 8


@dataclass(frozen=True)
class PredictedScores:
    """R as a kernel predicts it, for S training budgets and for training without end.

    Attributes:
        test: on the test set of task s after task t, [S + 1, T, T]; the last of S + 1 is for training without end.
            NaN from where the kernel says that training diverges.
        train: on the training sets.
        overlap: of the tasks' training sets, as ``task_overlap`` defines it, [T, T]; NaN where a kernel is zero.
    """

    test: Tensor
    train: Tensor
    overlap: Tensor

    __repr__ = one_line

    def matrix(self, i: int) -> AccuracyMatrix:
        """R after training budget i; −1 is training without end.

        Raises:
            StudyError: if there is no such training budget, or the prediction diverged, its learning rate above
                the critical one.
        """
        if not -len(self.test) <= i < len(self.test):
            raise StudyError(f"there are {len(self.test) - 1} training budgets, from 0, and -1; there is no {i}")
        if not torch.isfinite(self.test[i]).all():
            raise StudyError(
                f"the kernel predicts that training diverges within training budget {i}: the learning rate is "
                "above 2/κ_max of a task's kernel; lower it"
            )
        return AccuracyMatrix(self.test[i].numpy(), kind="explained_variance")


def predict_tasks(
    network: nn.Module,
    stream: TaskStream,
    *,
    learning_rate: float | Sequence[float],
    steps: Sequence[int],
    kernel: Literal["initial", "infinite"] = "initial",
    full: bool = True,
) -> PredictedScores:
    """What a network will score on every task after every task, if its kernel does not move.

    Gradient descent on ½‖f − y‖², summed over a task's examples, one task after the other, from the network's own
    function (Bennani, Doan, Sugiyama 2020, section 4); ``train_tasks`` with the same numbers shows what it does.

    Args:
        network: any network with the outputs that the stream needs.
        stream: T tasks.
        learning_rate: η, or one a task.
        steps: S numbers of steps a task, each a prediction of its own.
        kernel: ``"initial"``: the network's own, as it is; ``"infinite"``: of infinite width, for networks that
            ``infinite_width`` can trace, in NTK parametrization.
        full: whether the network's own kernel is taken for all pairs of outputs, [k, n, C, C] of k inputs, or for
            their mean, which is what wide networks come near to and takes C² times less.

    Raises:
        StudyError: if a number is out of range or the network has too few outputs.
        NtkgapError: if there is no such kernel of the network.

    Example:
        >>> load = ng.continual.load_stream
        >>> stream = load("rotated", "digits", n_train=10, n_test=20, tasks=2, angle=45, flatten=True)
        >>> net = ng.MLP(64, 10, 32, 1)
        >>> predicted = ng.continual.predict_tasks(net, stream, learning_rate=1e-3, steps=[10, 100])
        >>> predicted.matrix(0).scores.shape, predicted.overlap.shape
        ((2, 2), torch.Size([2, 2]))
    """
    if not isinstance(network, nn.Module) or not isinstance(stream, TaskStream):
        raise StudyError(
            f"give a network and a TaskStream, as load_stream and stream_of make them; got "
            f"{type(network).__name__} and {type(stream).__name__}"
        )
    if not isinstance(steps, Sequence) or not steps:
        raise StudyError(f"steps must name at least one number of steps a task, such as [100]; got {steps!r}")
    rates = rate_of_each(learning_rate, len(stream))
    if len(rates) != len(stream):
        raise StudyError(f"there are {len(stream)} tasks but {len(rates)} learning rates; give one a task, or one")
    for rate in rates:
        for count in steps:
            check_training(rate, count)
    if kernel not in ("initial", "infinite"):
        raise StudyError(f"kernel must be 'initial' or 'infinite', got {kernel!r}")
    network, points = in_float64(copy.deepcopy(network)), Points.of(stream)
    with torch.no_grad():
        initial = network(points.x)
    if initial.ndim != 2 or initial.shape[1] < stream.n_outputs:
        raise StudyError(
            f"the network's outputs have shape {tuple(initial.shape)}, but the stream {stream.name!r} is about "
            f"{stream.n_outputs} outputs; build it with that many"
        )
    chosen = limit_kernel(infinite_width(network).ntk(points.x), points) if kernel == "infinite" else None
    if chosen is None:
        chosen = finite_kernel(network, stream, points, full)
    factor = learning_rate_factor(network)
    return predict_scores(stream, points, chosen, [rate * factor for rate in rates], steps, initial)


def predict_scores(
    stream: TaskStream,
    points: Points,
    kernel: Kernel,
    rates: Sequence[float],
    steps: Sequence[int],
    initial: Tensor,
    modes: Callable[[int], KernelModes] | None = None,
) -> PredictedScores:
    """Gradient descent on one task after the other, as a kernel that does not change predicts it.

    Args:
        stream: T tasks.
        points: all their inputs.
        kernel: of every task.
        rates: learning rate of every task.
        steps: S numbers of steps a task.
        initial: f_0 at the points, [k, C].
        modes: eigenmodes of K(X_t, X_t) where they are known already.
    """
    noted = NotedKernel(kernel, stream)
    regression = SequentialRegression(initial.double().expand(len(steps) + 1, *initial.shape))
    bound = points.bound(stream, initial)
    diverged = torch.zeros(len(steps) + 1, dtype=torch.bool)
    tested, fitted = [], []
    for t, task in enumerate(stream.tasks):
        regression.learn(
            noted(t),
            points.train[t],
            in_float64(task.train.y),
            columns=task.columns,
            decay=partial(decays, rate=rates[t], steps=steps),
            modes=None if modes is None else modes(t),
        )
        diverged |= ~(points.loss(stream, regression.function, t) <= bound)  # also where it is NaN
        test, train = points.scores(stream, regression.function)
        tested.append(test.masked_fill(diverged[:, None], torch.nan))
        fitted.append(train.masked_fill(diverged[:, None], torch.nan))
    return PredictedScores(torch.stack(tested, dim=1), torch.stack(fitted, dim=1), noted.overlap())


def decays(modes: KernelModes, rate: float, steps: Sequence[int]) -> Tensor:
    """Of gradient descent after each number of steps, and of gradient flow without end, [S + 1, n]."""
    return torch.cat([modes.gradient_descent_decay(rate, torch.tensor(steps)), modes.converged_decay()[None]])


@dataclass(frozen=True)
class Limit:
    """The kernel of infinite width on a stream.

    Attributes:
        gram: Θ on all points, [k, k].
        modes: of every task's block.
    """

    gram: Tensor
    modes: tuple[KernelModes, ...]


def limit_of(problem: ContinualProblem, width: int, seed: int) -> Limit:
    """The kernel of infinite width on the stream of a seed; the last few are kept.

    Raises:
        NtkgapError: if the stream cannot be loaded or no limit is known for the network.
    """
    same = problem.model_dump(mode="json", include={"name", "model", "data", "stream", "training", "kernels"})
    # Of a user's network the limit may depend on the width, by its parametrization.
    at = width if isinstance(problem.model, OwnModel) else ANY_WIDTH
    return _limit(json.dumps(same | {"name": "", "widths": [at]}), seed, str(device.present()))


@lru_cache(maxsize=2)
def _limit(problem_json: str, seed: int, at: str) -> Limit:
    problem = ContinualProblem.model_validate_json(problem_json)
    stream = problem.load(seed)
    points = Points.of(stream)
    network = in_float64(problem.network(stream.template(), problem.widths[0], Generator().manual_seed(0)))
    gram = infinite_width(network).ntk(points.x)
    return Limit(gram, tuple(KernelModes(gram[i][:, i]) for i in points.train))


def largest_eigenvalues(network: nn.Module, points: Points) -> list[float]:
    """κ_max of the network's own kernel on the training inputs of every task."""
    return [float(NTKOperator(network, points.x[at]).spectral_norm()) for at in points.train]


def critical_rates(limit: Limit | None, network: nn.Module, points: Points) -> list[float]:
    """2/κ_max of every task: of infinite width where that is to predict, else of the network at its start."""
    if limit is not None:
        return [2 / float(modes.eigenvalues[-1]) for modes in limit.modes]
    return [2 / largest for largest in largest_eigenvalues(network, points)]
