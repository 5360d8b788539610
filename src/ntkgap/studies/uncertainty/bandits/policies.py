"""From the name of an exploration rule to the policy that plays it."""

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Generator, nn

from ntkgap.kernels import NTKOperator
from ntkgap.models.devices import in_float64
from ntkgap.practice.bandits import (
    EnsembleTS,
    Environment,
    EpsilonGreedy,
    Exploration,
    LaplaceTS,
    LaplaceUCB,
    LinTS,
    LinUCB,
    NeuralLinear,
    NeuralTS,
    NeuralUCB,
    Policy,
    RewardModel,
    TabulatedKernelUCB,
    infinite_kernel,
    norm_bound,
)
from ntkgap.studies.model import OwnModel
from ntkgap.studies.uncertainty.bandits.problem import BanditProblem
from ntkgap.studies.uncertainty.bandits.rules import Fixed, Tuned
from ntkgap.studies.uncertainty.noise import NOISE_BOUNDS
from ntkgap.theory import InfiniteWidthExploration, ZhouExploration

# How often the evidence is maximized in a game; each time takes an eigendecomposition.
EVIDENCE_TIMES = 20

# Of a user's network: the fraction of the critical learning rate, and the rounds that show what that is.
STABLE, SEEN = 0.5, 100


class Policies:
    """Makes policies that all start from the same network.

    Args:
        problem: what is played.
        environment: its rounds.
        network: before it has learned anything.
        width: of the network.
        stream: seed of what every policy draws.

    Attributes:
        norm_bound: S, as the problem has it or as theory asks for.
        training: as the problem has it, with a learning rate that is stable for a user's own network.
        theory: γ_t of NeuralUCB for this network and its training; of a user's own network there is none.
        limit: the same for m, J → ∞.
    """

    def __init__(
        self, problem: BanditProblem, environment: Environment, network: nn.Module, width: int, stream: int
    ) -> None:
        self.problem, self.environment, self.network, self.width = problem, environment, network, width
        self.stream = stream
        self.norm_bound = problem.schedule.norm_bound or math.nan
        self.training = problem.training.settings()
        if isinstance(problem.model, OwnModel):
            self.training = replace(self.training, learning_rate=self._stable_rate())
        else:
            self._schedule(problem.model.depth)

    def _stable_rate(self) -> float:
        """The preset's learning rate, which suits NTK parametrization, or what is stable for a user's network.

        After t rounds the curvature is (κ_max + λ)/t; of all arms together κ_max is larger than of those chosen.
        """
        training, seen = self.problem.training, self.environment.contexts[:SEEN].double()
        if training.optimizer == "adam":
            return training.learning_rate
        network = in_float64(copy.deepcopy(self.network))
        curvature = (
            NTKOperator(network, seen.to(next(network.parameters()).device)).spectral_norm() + self.problem.penalty
        )
        return min(training.learning_rate, STABLE * 2 * len(seen) / float(curvature))

    def _schedule(self, hidden_layers: int) -> None:
        """Theory's, in its own units, in which the network is that of α = 1."""
        problem, schedule = self.problem, self.problem.schedule
        self.norm_bound = schedule.norm_bound or norm_bound(
            self.environment, infinite_kernel(in_float64(self._started(alpha=1.0)))
        )
        self.limit = InfiniteWidthExploration(schedule.nu, schedule.delta, self.norm_bound, problem.regularization)
        self.theory = ZhouExploration(
            width=self.width,
            depth=hidden_layers + 1,  # layers with weights
            regularization=problem.regularization,
            # Of the summed loss after all rounds, where it is least; in NTK parametrization it is m times that of
            # the source.
            learning_rate=problem.training.learning_rate / self.environment.rounds / self.width,
            steps=problem.training.steps,
            nu=schedule.nu,
            delta=schedule.delta,
            norm_bound=self.norm_bound,
        )

    def fixed(self, rule: Fixed) -> Policy:
        """A rule that comes with all its settings."""
        match rule:
            case "theory":
                return self._ucb(self.theory)
            case "limit":
                return self._ucb(self.limit)
            case "evidence":
                return LaplaceUCB(self._model(), **self._evidence)
            case "laplace_greedy":
                return LaplaceUCB(self._model(), scale=0.0, **self._evidence)
            case "laplace_ts":
                return LaplaceTS(self._model(), generator=self._stream(1), **self._evidence)
            case "neural_linear":
                return NeuralLinear(self._model(), self.environment.arms, generator=self._stream(2))
            case "ensemble_ts":
                members = [
                    self._model(self._started(self._stream(100 + i)), who=200 + i)
                    for i in range(self.problem.members)
                ]
                return EnsembleTS(members, generator=self._stream(3))
            case "epsilon_greedy":
                return EpsilonGreedy(self._model(), self.problem.epsilon, generator=self._stream(4))
            case "greedy":
                return EpsilonGreedy(self._model(), 0.0, generator=self._stream(5))

    def tuned(self, rule: Tuned, constant: float) -> Policy:
        """A rule with one of the constants that are tried."""
        problem, environment = self.problem, self.environment
        arms, features = environment.arms, environment.contexts.shape[1]
        match rule:
            case "ucb":
                return self._ucb(_constant(constant))
            case "diagonal":
                return NeuralUCB(
                    self._model(), constant, at=problem.gradients, mean=problem.mean, design="diagonal"
                )
            case "thompson":
                return NeuralTS(
                    self._model(), constant, at=problem.gradients, mean=problem.mean, generator=self._stream(6)
                )
            case "lin_ucb":
                return LinUCB(arms, features, alpha=constant, every=problem.training.every)
            case "lin_ts":
                return LinTS(arms, features, nu=constant, every=problem.training.every, generator=self._stream(7))
            case "ntk_ucb" | "nngp_ucb":
                kernel = infinite_kernel(in_float64(self._started()), "ntk" if rule == "ntk_ucb" else "nngp")
                # The widths of NeuralUCB are posterior standard deviations over √λ: so γ means the same to both.
                gamma = constant / math.sqrt(problem.penalty)
                return TabulatedKernelUCB(
                    environment,
                    kernel,
                    noise=problem.penalty,
                    exploration=_constant(gamma),
                    every=problem.training.every,
                )

    def _started(self, generator: Generator | None = None, **changes: float) -> nn.Module:
        """A network that is no difference of two copies: such are alike at the start, and have no NNGP kernel."""
        problem = self.problem
        if not isinstance(problem.model, OwnModel):
            model = problem.model.model_copy(update={"antisymmetric": False, **changes})
            problem = problem.model_copy(update={"model": model})
        return problem.network(problem.template(self.environment), self.width, generator or self._stream(7))

    @property
    def _evidence(self) -> dict[str, Any]:
        """When and where the evidence is sought."""
        every = max(1, self.environment.rounds // EVIDENCE_TIMES)
        return {"evidence_every": every, "noise_bounds": NOISE_BOUNDS}

    def _ucb(self, exploration: Exploration) -> NeuralUCB:
        return NeuralUCB(self._model(), exploration, at=self.problem.gradients, mean=self.problem.mean)

    def _model(self, network: nn.Module | None = None, who: int = 0) -> RewardModel:
        return RewardModel(
            self.network if network is None else network,
            self.training,
            regularization=self.problem.penalty,
            generator=self._stream(who),
        )

    def _stream(self, who: int) -> Generator:
        """A source of randomness of its own for everyone."""
        return Generator().manual_seed(int(np.random.SeedSequence([self.stream, who]).generate_state(1)[0]))


def _constant(factor: float) -> Exploration:
    return lambda rounds, log_determinant: factor
