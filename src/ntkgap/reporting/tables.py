"""Tables that other programs read: ``results.csv`` and ``verdicts.json``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ntkgap.studies.statistics import Interval
from ntkgap.studies.verdict import Verdict
from ntkgap.sweep import Runs
from ntkgap.sweep.files import write_json


def results_table(all_runs: Sequence[Runs]) -> pd.DataFrame:
    """One row a cell of every study; see ``Runs.to_pandas``."""
    frames = []
    for runs in all_runs:
        frame = runs.to_pandas()
        frame.insert(0, "study", runs.study)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain JSON."""
    claim = verdict.claim
    return {
        "claim": claim.key,
        "problem": verdict.problem,
        "state": verdict.state,
        "status": verdict.status,
        "sentence": verdict.sentence,
        "statement": claim.statement,
        "source": claim.source,
        "kind": claim.kind,
        "quantity": claim.quantity,
        "criterion": claim.criterion,
        "threshold": claim.threshold,
        "direction": claim.direction,
        "effect": verdict.effect,
        "holds_from": verdict.holds_from,
        "extrapolated": _interval(verdict.extrapolated),
        "fitted_crossing": _interval(verdict.crossing),
        "fitted_exponent": _interval(verdict.fit.exponent if verdict.fit else None),
        "predicted_exponent": claim.exponent,
        "widths": [
            {
                "width": r.width,
                "state": r.state,
                "median": r.interval.value if r.interval else None,
                "low": r.interval.low if r.interval else None,
                "high": r.interval.high if r.interval else None,
                "n_seeds": r.n_seeds,
                "reason": r.reason,
            }
            for r in verdict.widths
        ],
    }


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}


def write_tables(folder: Path, all_runs: Sequence[Runs], verdicts: dict[str, list[Verdict]]) -> None:
    """Write ``results.csv`` and ``verdicts.json`` into a folder."""
    results_table(all_runs).to_csv(folder / "results.csv", index=False)
    records = [{"study": study, **verdict_record(v)} for study, found in verdicts.items() for v in found]
    write_json(folder / "verdicts.json", records)
