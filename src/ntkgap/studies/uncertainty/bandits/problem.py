"""What a bandit problem of the uncertainty study is: rounds, a network, how it learns, and who plays."""

from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Generator, nn

from ntkgap.data import Dataset
from ntkgap.errors import DataError, StudyError
from ntkgap.practice.bandits import Environment, RewardTraining, make_environment
from ntkgap.practice.bandits.environment import Encoding
from ntkgap.practice.bandits.making import Features, Rewards
from ntkgap.studies.device import moved
from ntkgap.studies.model import OwnModel
from ntkgap.studies.problem import BaseProblem
from ntkgap.studies.spec import DataSpec, Spec
from ntkgap.studies.uncertainty.bandits.rules import OF_THEORY, Fixed, Tuned, tuned_name

ARMS = 1  # which of a seed's sources the order of arms comes from

Positive = Annotated[float, Field(gt=0)]


class TrainingSpec(Spec):
    """How the reward network is trained; see ``RewardTraining``.

    Attributes:
        steps: J, updates a training.
        learning_rate: η of the loss over the number of rounds seen.
        every: rounds from one training to the next.
        start: ``"initial"`` or ``"current"`` parameters.
        optimizer: ``"gd"``, ``"sgd"`` or ``"adam"``.
        batch_size: of ``"sgd"`` and ``"adam"``.
    """

    steps: int = Field(default=100, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    every: int = Field(default=20, ge=1)
    start: Literal["initial", "current"] = "initial"
    optimizer: Literal["gd", "sgd", "adam"] = "gd"
    batch_size: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _is_a_training(self) -> Self:
        try:
            self.settings()
        except StudyError as error:
            raise ValueError(str(error)) from error
        return self

    def settings(self) -> RewardTraining:
        """As the bandits take it."""
        return RewardTraining(**self.model_dump())


class ScheduleSpec(Spec):
    """What theory's exploration schedule needs besides the network and its training.

    Attributes:
        nu: ν, bound of the noise (sub-Gaussian), in units of the scaled rewards.
        delta: δ, probability with which the confidence bounds may fail.
        norm_bound: S, bound of the reward function's norm in the kernel's space; as the theorem asks for if not
            given, from the true mean rewards, see ``norm_bound``.
    """

    nu: float = Field(default=0.1, gt=0)
    delta: float = Field(default=0.1, gt=0, lt=1)
    norm_bound: float | None = Field(default=None, gt=0)


class BanditProblem(BaseProblem):
    """Exploration rules that play a contextual bandit with networks of one family.

    The rounds are the training examples of the data: ``data.n_train`` is T.

    Attributes:
        kind: what tells the two kinds of problems apart.
        rewards: ``"class"`` (1 for the right class, else 0), ``"mushroom"`` (eat or not), ``"wheel_paper"`` or
            ``"wheel_released"``; see ``make_environment``.
        features: contexts as they are (``"raw"``), divided by their norms (``"unit_norm"``), or put on a sphere of
            one more dimension (``"lifted"``).
        encoding: ``"disjoint"`` (one output, input x ⊗ e_a) or ``"outputs"`` (one output an arm).
        reward_unit: what counts as a reward of 1; rewards are divided by it before anyone sees them, and relative
            regret does not change.
        training: of the reward network.
        regularization: λ of the network at α = 1. With another α the kernel is α² times as large, and λ is taken
            α² times as large too: then laziness alone changes, not the prior.
        schedule: of theory.
        gradients: at which parameters gradients are taken: those at ``"selection"``, ``"initial"`` or
            ``"current"`` ones.
        mean: where the expected rewards come from: ``"network"``, ``"linearized"`` model, or ``"kernel_ridge"``.
        rules: those without a constant to tune.
        tuned: constants to try, by rule.
        epsilon: of ε-greedy.
        members: of the ensemble.
        arms: their order: ``"shuffled"`` by the seed, as ``"given"`` by the data, or that ``"reversed"``.
        initial_pulls: how often every arm is pulled before a rule has a say.
        widenings: most games that a tuned rule plays beyond the constants given, while the best of them is at an
            edge or no more than the margin of the claims better than what is there.
    """

    kind: Literal["bandit"] = "bandit"
    rewards: Rewards = "class"
    features: Features = "lifted"
    encoding: Encoding = "disjoint"
    reward_unit: float = Field(default=1.0, gt=0)
    training: TrainingSpec = TrainingSpec()
    regularization: float = Field(default=1.0, gt=0)
    schedule: ScheduleSpec = ScheduleSpec()
    gradients: Literal["selection", "initial", "current"] = "selection"
    mean: Literal["network", "linearized", "kernel_ridge"] = "network"
    rules: list[Fixed] = Field(default=["theory", "limit", "evidence"])
    tuned: dict[Tuned, list[Positive]] = Field(default={"ucb": [0.01, 0.1, 1.0]})
    epsilon: float = Field(default=0.1, ge=0, le=1)
    members: int = Field(default=5, ge=2)
    arms: Literal["shuffled", "given", "reversed"] = "shuffled"
    initial_pulls: int = Field(default=0, ge=0)
    widenings: int = Field(default=2, ge=0, le=20)

    @model_validator(mode="after")
    def _rules_are_told_apart(self) -> Self:
        if len(set(self.rules)) < len(self.rules):
            raise ValueError("rules: a rule is named twice")
        if not self.rules and not self.tuned:
            raise ValueError("rules: nobody plays; name a rule, or give one constants in tuned")
        for rule, constants in self.tuned.items():
            if not constants or len({tuned_name(rule, c) for c in constants}) < len(constants):
                raise ValueError(
                    f"tuned: {rule} needs at least one constant, and each once (six digits tell them apart)"
                )
        return self

    @model_validator(mode="after")
    def _network_is_of_theory(self) -> Self:
        if isinstance(self.model, OwnModel):
            if refused := set(OF_THEORY) & set(self.rules):
                raise ValueError(
                    f"rules: {', '.join(sorted(refused))} take theory's schedule, which is of an MLP in NTK "
                    "parametrization; leave them out for a network of one's own"
                )
            return self
        if self.model.architecture != "mlp" or self.model.parametrization != "ntk":
            raise ValueError(
                "model: bandits take an MLP in NTK parametrization, of which the theory is; got "
                f"{self.model.architecture!r} in {self.model.parametrization!r}"
            )
        return self

    @model_validator(mode="after")
    def _training_suits_theory(self) -> Self:
        training = self.training
        if min(self.widths) < 2 and not isinstance(self.model, OwnModel):
            raise ValueError("widths: theory's schedule, which every cell notes, is of widths from 2 on")
        if self.mean == "linearized" and (training.optimizer != "gd" or training.batch_size is not None):
            raise ValueError(
                "mean: a linearized mean is computed for full-batch gradient descent; choose optimizer 'gd' in "
                "training"
            )
        too_large = training.learning_rate * self.regularization >= self.data.n_train
        if too_large and not isinstance(self.model, OwnModel):
            raise ValueError(
                f"regularization: theory's schedule needs η·m·λ < 1, with its η the learning rate over the rounds "
                f"and over m; {training.learning_rate:g} · {self.regularization:g} / {self.data.n_train} is "
                f"{training.learning_rate * self.regularization / self.data.n_train:.3g}; lower one of them"
            )
        return self

    @property
    def penalty(self) -> float:
        """α²λ, in units of the network's own kernel."""
        return self.regularization * self.model.alpha**2

    def environment(self, seed: int) -> Environment:
        """The rounds of a seed.

        Raises:
            NtkgapError: if the data cannot be loaded, or are no bandit.
        """
        rounds, _ = self.data.load(seed)
        environment = make_environment(
            rounds,
            self.rewards,
            features=self.features,
            encoding=self.encoding,
            reward_unit=self.reward_unit,
            seed=seed,
        )
        if self.initial_pulls * environment.arms > environment.rounds:
            raise StudyError(
                f"{self.name!r}: initial_pulls: {self.initial_pulls} of {environment.arms} arms take "
                f"{self.initial_pulls * environment.arms} rounds, but the game has {environment.rounds}; lower "
                "it, or raise data.n_train"
            )
        if self.arms == "shuffled":
            generator = Generator().manual_seed(_stream(seed, ARMS))
            return environment.reordered(torch.randperm(environment.arms, generator=generator).tolist())
        return environment if self.arms == "given" else environment.reordered(range(environment.arms)[::-1])

    def describe(self) -> str:
        """Rounds, arms and learning."""
        t = self.training
        caveat = (
            " Theory's schedule is of gradient descent; here it is given the learning rate of another optimizer."
            if t.optimizer != "gd" and "theory" in self.rules
            else ""
        )
        return (
            f"{self.data.n_train} rounds of {self.data.label}, encoded as {self.encoding}, contexts "
            f"{self.features}; λ = {self.regularization:g}; trained every {t.every} rounds for {t.steps} steps of "
            f"{t.optimizer} with η = {t.learning_rate:g} from the {t.start} parameters; gradients at "
            f"{self.gradients}; means from {self.mean}; arms {self.arms}, each pulled "
            f"{self.initial_pulls} times at first."
            f"{caveat}"
        )

    @property
    def role(self) -> str:
        """Its kind."""
        return self.kind

    def title(self, network: str, data: str) -> str:
        """The rounds come first."""
        return f"{data} as a bandit, {network}"

    @classmethod
    def parts_of(cls, name: str) -> tuple[str, str]:
        """The network comes last."""
        data, _, network = name.rpartition(", ")
        return network, data

    @classmethod
    def adapted(cls, settings: dict[str, Any], *, own_model: bool, own_data: bool) -> dict[str, Any]:
        """A user's data are classes. A user's network takes them as they are; theory has no schedule for it."""
        if own_data:
            settings = settings | {"rewards": "class", "reward_unit": 1.0}
        if own_model:
            rules = [rule for rule in settings["rules"] if rule not in OF_THEORY]
            settings = settings | {"rules": rules, "features": "raw", "encoding": "outputs"}
        return settings

    def example(self, seed: int) -> Dataset:
        """What a network is asked about the arms of a round, once contexts suit theory's schedule."""
        environment = self.environment(seed)
        if set(OF_THEORY) & set(self.rules):
            try:
                environment.check_unit_norm("theory's exploration schedule")
            except DataError as error:
                raise StudyError(
                    f"{self.name!r}: {error}; here: features: unit_norm or features: lifted, or rules without "
                    "theory and limit"
                ) from error
        return self.template(environment)

    def network(self, data: Dataset, width: int, generator: Generator) -> nn.Module:
        """The reward network of a width; a user's own is given contexts in the shape of the data's inputs."""
        shape = _shape_of_inputs(self.data.model_dump_json()) if isinstance(self.model, OwnModel) else ()
        if len(shape) < 2:
            return super().network(data, width, generator)
        like = Dataset(data.x.new_zeros(1, *shape), data.y)
        return nn.Sequential(nn.Unflatten(1, shape), super().network(like, width, generator)).eval()

    @staticmethod
    def template(environment: Environment) -> Dataset:
        """Inputs and targets of the shapes of a reward network's."""
        return moved(Dataset(torch.zeros(1, environment.in_features), torch.zeros(1, environment.out_features)))


def _stream(seed: int, what: int) -> int:
    """Seed of a source of randomness of its own."""
    return int(np.random.SeedSequence([seed, what]).generate_state(1)[0])


@lru_cache(maxsize=16)
def _shape_of_inputs(data: str) -> tuple[int, ...]:
    """Of one example; the data as JSON."""
    rounds, _ = DataSpec.model_validate_json(data).load(seed=0)
    return tuple(rounds.x.shape[1:])
