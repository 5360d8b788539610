"""Which constant a tuned rule would have been given, and how sure that choice is."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import numpy as np

from ntkgap.studies.measured import HIGH, LOW, Measured
from ntkgap.studies.uncertainty.bandits.rules import LABELS, scalar_name, tuned_name

T = TypeVar("T")

# Resamples of the other seeds, and in what fraction of them a constant must be the best to be in question.
RESAMPLES, SHARE = 2000, 0.05


@dataclass(frozen=True)
class Choice:
    """The constant that a group of seeds recommends.

    Attributes:
        best: with the least mean regret.
        contenders: those that the seeds cannot tell from the best, it among them.
        at_edge: whether the best is the least or the largest of several that were tried.
    """

    best: float
    contenders: tuple[float, ...]
    at_edge: bool


def choose(regrets: Mapping[float, Sequence[float]]) -> Choice:
    """Choose by mean regret, and see by the bootstrap how sure the choice is.

    Seeds are drawn with replacement, all constants together: their games are paired. A constant contends if it
    has the least mean in at least 5 % of the resamples. A single seed says nothing of how much chance there is:
    all contend.

    Args:
        regrets: by constant, one number a seed, in the same order.

    Source:
        Efron, Tibshirani (1993), An introduction to the bootstrap, chapters 6 and 8 (paired resampling).
    """
    constants = sorted(regrets)
    table = np.array([regrets[c] for c in constants])  # [constants, seeds]
    best = constants[int(table.mean(axis=1).argmin())]
    n = table.shape[1]
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    means = table[:, drawn].mean(axis=2)
    share = (means == means.min(axis=0)).mean(axis=1)
    contenders = {c for c, part in zip(constants, share, strict=True) if n == 1 or part >= SHARE} | {best}
    at_edge = len(constants) > 1 and best in (constants[0], constants[-1])
    return Choice(best, tuple(sorted(contenders)), at_edge)


def complete(cells: Sequence[Measured]) -> list[Measured]:
    """Add to every cell what its tuned rules do with the constant that the other seeds recommend, and ratios.

    A constant chosen on the very rounds on which it is judged would flatter the tuned rules. With a single seed
    there is no other choice. The choice is as uncertain as the regrets it rests on: each ratio has a ``_low`` and
    a ``_high``, the least and the largest over all constants that the other seeds cannot tell from the chosen one.
    Verdicts take these in place of the ratio for the ends of their intervals.

    Args:
        cells: of any problems; those that are no bandits are returned as they are.
    """
    replicates: dict[str, list[Measured]] = defaultdict(list)
    for cell in cells:
        replicates[_but_seed(cell)].append(cell)
    found = []
    for cell in cells:
        if cell.cell.get("kind") != "bandit":
            found.append(cell)
            continue
        others = [c for c in replicates[_but_seed(cell)] if c.seed != cell.seed]
        scalars, curves, notes = dict(cell.scalars), dict(cell.curves), list(cell.notes)
        contenders: dict[str, list[float]] = {}
        for rule in cell.cell["tuned"]:
            tried = _tried_by_all((cell, *others), rule)
            if tried is None:
                continue  # it was not asked to play with this network
            choice = choose({c: [_regret(other, rule, c) for other in others or [cell]] for c in tried})
            _copy(cell.scalars, scalars, rule, choice.best)
            _copy(cell.curves, curves, rule, choice.best)
            scalars[scalar_name(rule, "constant")] = choice.best
            scalars[scalar_name(rule, "constant_at_edge")] = float(choice.at_edge)
            contenders[rule] = [_regret(cell, rule, c) for c in choice.contenders]
            if choice.at_edge:
                notes.append(
                    f"{LABELS[rule]}: the best constant, {choice.best:g}, is at the edge of those that all seeds "
                    f"tried, {min(tried):g} to {max(tried):g}; a better one may lie beyond"
                )
        scalars |= ratios(scalars) | bounds(scalars, contenders)
        found.append(replace(cell, scalars=scalars, curves=curves, notes=notes))
    return found


def bounds(scalars: Mapping[str, float], contenders: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The least and the largest of every ratio, over the regrets of the constants that may be the best."""
    rules = [rule for rule in ("ucb", "lin_ucb", "ntk_ucb") if rule in contenders]
    values: dict[str, list[float]] = defaultdict(list)
    for combination in product(*(contenders[rule] for rule in rules)):
        own = {scalar_name(rule, "regret"): value for rule, value in zip(rules, combination, strict=True)}
        for name, value in ratios({**scalars, **own}).items():
            if not math.isnan(value):
                values[name].append(value)
    lows = {name + LOW: min(several) for name, several in values.items()}
    return lows | {name + HIGH: max(several) for name, several in values.items()}


def ratios(scalars: Mapping[str, float]) -> dict[str, float]:
    """Regret of rules against each other, where both played."""

    def regret(rule: str) -> float | None:
        return scalars.get(scalar_name(rule, "regret"))

    found: dict[str, float] = {}
    for rule in ("theory", "limit", "evidence"):
        if (ratio := _ratio(regret(rule), regret("ucb"))) is not None:
            found[f"bandit_{rule}_over_tuned"] = ratio
    if (ratio := _ratio(regret("evidence"), regret("laplace_greedy"))) is not None:
        found["bandit_evidence_over_greedy"] = ratio
    if (ratio := _ratio(regret("ucb"), regret("lin_ucb"))) is not None:
        found["bandit_tuned_over_linear"] = ratio
    if (ratio := _ratio(regret("ucb"), regret("ntk_ucb"))) is not None:
        found["bandit_kernel_gap"] = abs(ratio - 1)
    return found


def _ratio(over: float | None, under: float | None) -> float | None:
    if over is None or under is None:
        return None
    if math.isinf(under):
        return math.nan if math.isinf(over) else 0.0  # of two that diverged none lost more
    if over == under:
        return 1.0
    return over / under if under > 0 else math.inf


def _but_seed(cell: Measured) -> str:
    """What the seeds of one network, width and setting have in common."""
    return json.dumps({k: v for k, v in cell.cell.items() if k != "seed"}, sort_keys=True)


def _tried_by_all(cells: Sequence[Measured], rule: str) -> list[float] | None:
    """The constants that all these cells played with, ascending; None where one of them did not play.

    Each cell widens its grid for itself. Cells of earlier versions tried those of their configuration.
    """
    sets = [set(c.curves.get(scalar_name(rule, "tried")) or c.cell["tuned"][rule]) for c in cells]
    tried = sorted(set.intersection(*sets))
    played = all(scalar_name(tuned_name(rule, c), "regret") in of.scalars for of in cells for c in tried)
    return tried if tried and played else None


def _regret(cell: Measured, rule: str, constant: float) -> float:
    return cell.scalars[scalar_name(tuned_name(rule, constant), "regret")]


def _copy(source: Mapping[str, T], target: dict[str, T], rule: str, constant: float) -> None:
    """What a candidate did becomes what its rule did."""
    prefix = scalar_name(tuned_name(rule, constant), "")
    target |= {
        scalar_name(rule, name.removeprefix(prefix)): value
        for name, value in source.items()
        if name.startswith(prefix)
    }
