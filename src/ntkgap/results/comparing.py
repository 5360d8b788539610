"""Two runs side by side: which verdicts differ, and why."""

from pathlib import Path
from typing import Any

import pandas as pd

from ntkgap import sweep
from ntkgap.errors import StoreError
from ntkgap.results.runs import Runs
from ntkgap.studies.assess import problem_settings

PLACE = ["problem", "claim", "axis", "at"]


def compare_runs(a: str | Path | sweep.Runs, b: str | Path | sweep.Runs) -> pd.DataFrame:
    """The verdicts of two runs of one study beside each other; nothing is written.

    Args:
        a: results, or the directory of a store.
        b: others of the same study.

    Returns:
        One row for each problem, claim and place on an axis of either: ``problem``, ``claim``, ``axis``, ``at``;
        ``state_a`` and ``state_b`` (missing where one has none); ``value``, ``low``, ``high`` and ``seeds`` of
        both; ``changed``: whether the states differ; ``why``: what else differs, of those that do: settings,
        seeds, the version of the study, and whether the intervals overlap. Those that changed come first.

    Raises:
        StoreError: if there is no store, or they are of different studies.

    Example:
        >>> study = ng.OptimizationStudy.preset("smoke", widths=[8], seeds=1)
        >>> _ = ng.run(study, "runs/mine", workers=1, progress=False)
        >>> len(ng.compare_runs("runs/mine", "runs/mine").query("changed"))
        0
    """
    one, two = (Runs.of(r) if isinstance(r, sweep.Runs) else Runs(r) for r in (a, b))
    if one.study != two.study:
        raise StoreError(
            f"{one.path} is of the study {one.study!r}, {two.path} of {two.study!r}; compare two of one"
        )
    frames = [runs.verdicts().drop(columns=["study", "limit"]) for runs in (one, two)]
    # Values of a setting are numbers, words or nothing: they are compared as they are written.
    for frame in frames:
        frame["at"] = frame["at"].astype(str)
    both = frames[0].merge(frames[1], on=PLACE, how="outer", suffixes=("_a", "_b"), sort=False)
    both["changed"] = (both.state_a != both.state_b) & ~(both.state_a.isna() & both.state_b.isna())
    general = "" if one.version == two.version else f"version {one.version} of the study, then {two.version}"
    settings = problem_settings(one), problem_settings(two)
    both["why"] = [
        "; ".join(part for part in (_why(row, *(s.get(row["problem"]) for s in settings)), general) if part)
        if row["changed"]
        else ""
        for row in both.to_dict("records")
    ]
    return both.sort_values("changed", ascending=False, kind="stable", ignore_index=True)


def _why(row: dict[Any, Any], before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    """What differs between the two where their verdicts do."""
    if pd.isna(row["state_a"]) or pd.isna(row["state_b"]):
        return f"judged in {'b' if pd.isna(row['state_a']) else 'a'} alone"
    parts = []
    if before is not None and after is not None:
        keys = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
        parts += [f"{key} {before.get(key)!r:.30} → {after.get(key)!r:.30}" for key in keys[:3]]
        parts += [f"and {len(keys) - 3} other settings"] * (len(keys) > 3)
    if row["seeds_a"] != row["seeds_b"]:
        parts.append(f"{row['seeds_a']:.0f} → {row['seeds_b']:.0f} seeds")
    apart = row["high_a"] < row["low_b"] or row["high_b"] < row["low_a"]
    known = not any(pd.isna(row[name]) for name in ("low_a", "low_b"))
    if known:
        parts.append("intervals do not overlap" if apart else "intervals overlap")
    return "; ".join(parts)
