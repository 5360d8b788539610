"""Which constant a tuned rule would have been given: the one that was best on the other seeds."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ntkgap.studies.measured import Measured
from ntkgap.studies.uncertainty.bandits.rules import scalar_name, tuned_name

T = TypeVar("T")


def complete(cells: Sequence[Measured]) -> list[Measured]:
    """Add to every cell what its tuned rules do with the constant that the other seeds recommend, and ratios.

    A constant chosen on the very rounds on which it is judged would flatter the tuned rules. With a single seed
    there is no other choice.

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
        scalars, curves = dict(cell.scalars), dict(cell.curves)
        for rule, constants in cell.cell["tuned"].items():
            if any(
                scalar_name(tuned_name(rule, c), "regret") not in of.scalars
                for of in (cell, *others)
                for c in constants
            ):
                continue  # it was not asked to play with this network
            best = min(constants, key=lambda c: _mean_regret(others or [cell], tuned_name(rule, c)))
            _copy(cell.scalars, scalars, rule, best)
            _copy(cell.curves, curves, rule, best)
            scalars[scalar_name(rule, "constant")] = best
        found.append(replace(cell, scalars=scalars | ratios(scalars), curves=curves))
    return found


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


def _mean_regret(cells: Sequence[Measured], name: str) -> float:
    values = [c.scalars[scalar_name(name, "regret")] for c in cells]
    return sum(values) / len(values)


def _copy(source: Mapping[str, T], target: dict[str, T], rule: str, constant: float) -> None:
    """What a candidate did becomes what its rule did."""
    prefix = scalar_name(tuned_name(rule, constant), "")
    target |= {
        scalar_name(rule, name.removeprefix(prefix)): value
        for name, value in source.items()
        if name.startswith(prefix)
    }
