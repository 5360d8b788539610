"""One cell of a bandit: all exploration rules play the same rounds with networks of one width and seed."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Generator

from ntkgap.errors import KernelError, ModelError
from ntkgap.practice.bandits import BanditRun, Policy, play
from ntkgap.studies.device import present
from ntkgap.studies.findings import Findings
from ntkgap.studies.model import OwnModel, notes_on
from ntkgap.studies.uncertainty.bandits.grid import widened
from ntkgap.studies.uncertainty.bandits.policies import Policies
from ntkgap.studies.uncertainty.bandits.problem import BanditProblem
from ntkgap.studies.uncertainty.bandits.rules import (
    LABELS,
    OF_LIMIT,
    WIDTHLESS,
    Tuned,
    scalar_name,
    tuned_name,
)
from ntkgap.theory import InfiniteWidthExploration, ZhouExploration

POINTS = 40  # of each curve over the rounds
DIAGNOSES = 8  # of each policy
FAR = 10**60  # a width to show that theory's schedule does not come down to its limit
ANY_WIDTH = 8  # of a network whose infinite-width limit is all that is asked for

# What claims ask of theory's schedule.
SCHEDULED = (
    "bandit_schedule_factor",
    "bandit_theory_over_tuned",
    "bandit_limit_over_tuned",
    "bandit_limit_coverage",
)

Games = dict[float, BanditRun]


def measure(problem: BanditProblem, width: int, seed: int) -> Findings:
    """Let every rule play; the same configuration always gives the same numbers, but for those of clocks.

    Args:
        problem: what is played.
        width: of the reward network.
        seed: of the rounds, the network and what every policy draws.
    """
    environment = problem.environment(seed)
    # One stream a (seed, width): networks of different widths are independent draws.
    stream = int(np.random.SeedSequence([seed, width]).generate_state(1)[0])
    network = problem.network(problem.template(environment), width, Generator().manual_seed(stream))
    policies = Policies(problem, environment, network, width, stream)
    findings = Findings(notes=notes_on(network))
    findings.scalars |= {
        "bandit_uniform_regret": float(environment.regrets().mean()),
        "bandit_norm_bound": policies.norm_bound,
        "n_parameters": sum(p.numel() for p in network.parameters()),
    }
    findings.curves |= {
        "bandit_rounds": [float(t) for t in checkpoints(environment.rounds, POINTS)],
        "bandit_diagnosed": [float(t) for t in checkpoints(environment.rounds, DIAGNOSES)],
    }
    for name in problem.rules:
        add(name, run(policies, policies.fixed(name)), findings)
    for rule in problem.tuned:
        if rule not in WIDTHLESS:
            add_tuned(rule, search(problem, policies, rule), findings)
    if isinstance(problem.model, OwnModel):
        findings.scalars["bandit_learning_rate"] = policies.training.learning_rate
        play_own_limit(problem, policies, findings)
        findings.leave_out("theory's schedule is of an MLP in NTK parametrization", *SCHEDULED)
        return findings
    for rule, games in widthless(
        problem.model_copy(update={"widths": [ANY_WIDTH]}).model_dump_json(), seed, str(present())
    ):
        add_tuned(rule, games, findings)
    add_schedule(policies.theory, policies.limit, findings)
    return findings


def play_own_limit(problem: BanditProblem, policies: Policies, findings: Findings) -> None:
    """Linear rules, and those of the user's network at infinite width if such a kernel is known."""
    for rule in problem.tuned:
        if rule not in WIDTHLESS:
            continue
        try:
            add_tuned(rule, search(problem, policies, rule), findings)
        except (KernelError, ModelError) as error:
            if rule not in OF_LIMIT:
                raise
            findings.leave_out(f"no infinite-width kernel: {error}", "bandit_kernel_gap")


def run(policies: Policies, policy: Policy) -> BanditRun:
    """Play all rounds; ties and initial pulls are the same for all rules of a cell."""
    environment = policies.environment
    return play(
        environment,
        policy,
        initial_pulls=policies.problem.initial_pulls,
        seed=policies.stream,
        diagnose_at=checkpoints(environment.rounds, DIAGNOSES),
    )


def search(problem: BanditProblem, policies: Policies, rule: Tuned) -> Games:
    """The games of a tuned rule, by constant."""
    return widened(
        problem.tuned[rule],
        lambda constant: run(policies, policies.tuned(rule, constant)),
        regret=lambda game: game.relative_regret,
        widenings=problem.widenings,
    )


@lru_cache(maxsize=16)
def widthless(problem: str, seed: int, at: str) -> list[tuple[Tuned, Games]]:
    """What those policies did whose outcome no width can change, once for all widths; the problem as JSON."""
    spec = BanditProblem.model_validate_json(problem)
    environment = spec.environment(seed)
    network = spec.network(spec.template(environment), ANY_WIDTH, Generator().manual_seed(0))
    policies = Policies(spec, environment, network, ANY_WIDTH, stream=seed)
    return [(rule, search(spec, policies, rule)) for rule in spec.tuned if rule in WIDTHLESS]


def checkpoints(rounds: int, points: int) -> list[int]:
    """Rounds in equal ratios, the last among them."""
    return sorted({int(t) for t in np.geomspace(1, rounds, points).round()})


def add_tuned(rule: Tuned, games: Games, findings: Findings) -> None:
    """Note what a tuned rule did with every constant, and which constants it tried."""
    for constant, game in games.items():
        add(tuned_name(rule, constant), game, findings)
    findings.curves[scalar_name(rule, "tried")] = sorted(games)


def add(name: str, result: BanditRun, findings: Findings) -> None:
    """Note what a rule did: regret, coverage, curves over the rounds, and the last of its diagnoses."""
    at = torch.tensor(checkpoints(len(result.regret), POINTS)) - 1
    total = float(result.uniform_regret[-1])
    findings.scalars |= {
        scalar_name(name, "regret"): result.relative_regret,
        scalar_name(name, "reward"): float(result.rewards.mean()) if result.diverged is None else -math.inf,
        f"seconds_{scalar_name(name, 'play')}": result.seconds,
    }
    findings.curves[scalar_name(name, "regret_curve")] = (result.regret[at] / total).tolist()
    if not math.isnan(result.coverage):
        # Of a game that was broken off it would be that of its first rounds.
        findings.scalars[scalar_name(name, "coverage")] = result.coverage if result.diverged is None else math.nan
        findings.scalars[scalar_name(name, "half_width")] = float(result.half_width.nanmean())
    for what, values in result.diagnoses.items():
        findings.scalars[scalar_name(name, what)] = values[-1] if result.diverged is None else math.inf
        findings.curves[scalar_name(name, f"{what}_curve")] = values
    if findings.scalars.get(scalar_name(name, "evidence_at_edge")) == 1:
        findings.notes.append(
            f"{LABELS[name]}: in the end the evidence is greatest at a bound of precision or noise; the data "
            "alone did not choose it"
        )
    if result.diverged is not None:
        findings.diverged = True
        findings.notes.append(f"{name} diverged in {result.diverged}")


def add_schedule(theory: ZhouExploration, limit: InfiniteWidthExploration, findings: Findings) -> None:
    """Every term of γ_t, along the determinants that NeuralUCB met when it explored with the limit of γ_t."""
    determinants = findings.curves.get(scalar_name("limit", "log_determinant_curve"))
    if not determinants:
        return
    rounds = [int(t) for t in findings.curves["bandit_diagnosed"][: len(determinants)]]
    terms = [theory.terms(t, d) for t, d in zip(rounds, determinants, strict=True)]
    for name in terms[0]:
        findings.curves[f"bandit_schedule_{name}"] = [term[name] for term in terms]
    gamma = [theory(t, d) for t, d in zip(rounds, determinants, strict=True)]
    at_limit = [limit(t, d) for t, d in zip(rounds, determinants, strict=True)]
    findings.curves |= {"bandit_schedule_gamma": gamma, "bandit_schedule_limit": at_limit}
    findings.scalars["bandit_schedule_factor"] = gamma[-1] / at_limit[-1]
    # The network's own learning rate, ηm, stays.
    far = replace(theory, width=FAR, learning_rate=theory.learning_rate * theory.width / FAR)
    findings.scalars["bandit_schedule_factor_far"] = far(rounds[-1], determinants[-1]) / at_limit[-1]
