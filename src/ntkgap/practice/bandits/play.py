"""A policy plays an environment."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral

import torch
from torch import Generator, Tensor

from ntkgap.errors import StudyError
from ntkgap.one_line import one_line
from ntkgap.practice.bandits.environment import Environment
from ntkgap.practice.bandits.policy import Decision, Diverged, Policy


@dataclass(frozen=True)
class BanditRun:
    """What a policy did in T rounds.

    Attributes:
        arms: chosen ones, [T]; −1 after the policy diverged.
        rewards: received, [T]; NaN after it diverged.
        regret: cumulative expected regret Σ (max_a μ_a − μ_chosen), [T]; infinite after it diverged.
        uniform_regret: the same in expectation for uniform choice, [T].
        oracle_reward: cumulative expected reward of the best arms, [T].
        covered: fraction of the arms whose true mean the policy's interval held, [T]; NaN where it had none.
        half_width: of these intervals, mean over arms, [T]; NaN where it had none.
        diagnosed_at: numbers of rounds after which diagnoses were taken.
        diagnoses: by name, one number for each of ``diagnosed_at`` (NaN where it was not given).
        diverged: what happened, if the policy diverged.
        seconds: that deciding and learning took.
    """

    arms: Tensor
    rewards: Tensor
    regret: Tensor
    uniform_regret: Tensor
    oracle_reward: Tensor
    covered: Tensor
    half_width: Tensor
    diagnosed_at: tuple[int, ...]
    diagnoses: dict[str, list[float]]
    diverged: str | None
    seconds: float

    __repr__ = one_line

    @property
    def relative_regret(self) -> float:
        """Total regret as a fraction of that of uniform choice; infinite if the policy diverged."""
        return float(self.regret[-1] / self.uniform_regret[-1])

    @property
    def oracle_fraction(self) -> float:
        """Total expected reward as a fraction of the oracle's; −infinite if the policy diverged.

        Says little where the oracle's reward is not positive; ``relative_regret`` needs no zero of rewards.
        """
        return float((self.oracle_reward[-1] - self.regret[-1]) / self.oracle_reward[-1])

    @property
    def coverage(self) -> float:
        """Part of all arms and rounds whose true mean the interval held; NaN without intervals."""
        return float(self.covered.nanmean())


def play(
    environment: Environment,
    policy: Policy,
    *,
    initial_pulls: int = 0,
    seed: int = 0,
    diagnose_at: Sequence[int] = (),
    progress: Callable[[int], None] | None = None,
) -> BanditRun:
    """Play all rounds of an environment.

    Args:
        environment: the contexts and rewards.
        policy: chooses and learns; a new one, that has played no game before.
        initial_pulls: how often every arm is pulled before the policy has a say, in an order drawn by the seed; it
            learns from these rounds, and their regret counts. None by default, as in the papers of NeuralUCB.
        seed: of choices among arms that look equally good to the policy, and of the order of initial pulls. The
            rest of a policy's random stream is its own.
        diagnose_at: numbers of rounds, ascending, after which ``policy.diagnose`` is asked.
        progress: called with the number of rounds played, after each.

    Raises:
        StudyError: if ``diagnose_at``, ``initial_pulls`` or the seed is out of range, all arms are always equally
            good, the policy has played before or is for another number of arms, or it decides on an arm that there
            is not, or with intervals that are NaN or negative.
    """
    if list(diagnose_at) != sorted(set(diagnose_at)) or not all(1 <= t <= environment.rounds for t in diagnose_at):
        raise StudyError(
            f"diagnose_at must be ascending numbers from 1 to {environment.rounds}, got {list(diagnose_at)}"
        )
    losses = environment.regrets().double()
    if not losses.any():
        raise StudyError("all arms are equally good in every round: there is no regret to measure")
    _check_policy(policy, environment.arms)
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise StudyError(f"seed must be an integer of at least 0, got {seed!r}")
    generator = Generator().manual_seed(int(seed))
    forced = _initial_arms(environment, initial_pulls, generator)
    n = environment.rounds
    policy.played, policy.ties = True, generator
    policy.coming = lambda first, end: [environment.inputs(t) for t in range(first, min(end, n))]
    arms = torch.full((n,), -1)
    rewards, covered, half_width = (torch.full((n,), math.nan, dtype=torch.float64) for _ in range(3))
    lost = torch.full((n,), math.inf, dtype=torch.float64)
    found: list[dict[str, float]] = []
    diverged, seconds = None, 0.0
    for t in range(n):
        context, inputs = environment.contexts[t], environment.inputs(t)
        start = time.perf_counter()
        try:
            decision = policy.decide(context, inputs)
            _check(decision, environment.arms, t + 1)
            if t < len(forced):
                decision = replace(decision, arm=forced[t])
            policy.learn(context, inputs, decision.arm, float(environment.rewards[t, decision.arm]))
        except Diverged as error:
            diverged = f"round {t + 1}: {error}"
            break
        seconds += time.perf_counter() - start
        arms[t], rewards[t] = decision.arm, environment.rewards[t, decision.arm]
        lost[t] = losses[t, decision.arm]
        covered[t], half_width[t] = _intervals(decision, environment.means[t])
        if t + 1 in diagnose_at:
            found.append(policy.diagnose())
        if progress is not None:
            progress(t + 1)
    names = {name: None for diagnosis in found for name in diagnosis}
    return BanditRun(
        arms,
        rewards,
        lost.cumsum(0),
        losses.mean(dim=1).cumsum(0),
        environment.means.double().amax(dim=1).cumsum(0),
        covered,
        half_width,
        tuple(diagnose_at[: len(found)]),
        {name: [diagnosis.get(name, math.nan) for diagnosis in found] for name in names},
        diverged,
        seconds,
    )


def _initial_arms(environment: Environment, pulls: int, generator: Generator) -> list[int]:
    """Arms of the first rounds: all of them so many times, each time in another order."""
    if isinstance(pulls, bool) or not isinstance(pulls, Integral) or pulls < 0:
        raise StudyError(f"initial_pulls must be an integer of at least 0, got {pulls!r}")
    if pulls * environment.arms > environment.rounds:
        raise StudyError(
            f"initial_pulls={pulls} of {environment.arms} arms take {pulls * environment.arms} rounds, but the "
            f"game has {environment.rounds}; lower initial_pulls, or play more rounds"
        )
    orders = [torch.randperm(environment.arms, generator=generator) for _ in range(int(pulls))]
    return [int(arm) for order in orders for arm in order]


def _check_policy(policy: Policy, arms: int) -> None:
    """Refuse policies that know the answers already, or would leave arms out."""
    # Whatever has the methods of a policy may play, so that both attributes may be missing or mean something else.
    if getattr(policy, "played", False) is True:
        raise StudyError(
            f"this {type(policy).__name__} has played before and knows what was paid; build a new one for every "
            "game"
        )
    built_for = getattr(policy, "arms", None)
    if isinstance(built_for, Integral) and built_for != arms:
        raise StudyError(
            f"this {type(policy).__name__} is for {built_for} arms, but the environment has {arms}; build it for "
            f"{arms}"
        )


def _check(decision: Decision, arms: int, round_: int) -> None:
    """Refuse decisions that are none: every later one would rest on them."""
    if not 0 <= decision.arm < arms or (decision.mean is not None and len(decision.mean) != arms):
        raise StudyError(
            f"in round {round_} the policy chose arm {decision.arm} of "
            f"{arms if decision.mean is None else len(decision.mean)}, but the environment has {arms} arms; build "
            "the policy, and its network's outputs, for that many"
        )
    width = decision.half_width
    if width is not None and (torch.isnan(width).any() or (width < 0).any()):
        raise StudyError(
            f"in round {round_} the policy's intervals are NaN or negative, {width.tolist()}; check its "
            "exploration factor, which must be a number of at least 0"
        )


def _intervals(decision: Decision, means: Tensor) -> tuple[float, float]:
    """Part of the true means [K] inside the decision's intervals, and their mean half width."""
    if decision.mean is None or decision.half_width is None:
        return math.nan, math.nan
    inside = (decision.mean.double() - means.double()).abs() <= decision.half_width
    return float(inside.double().mean()), float(decision.half_width.double().mean())
