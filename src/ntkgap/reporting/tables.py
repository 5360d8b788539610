"""Tables that other programs read: ``results.csv`` and ``verdicts.json``."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ntkgap.reporting.records import VERDICTS, VerdictRecord, axis_record, verdict_record
from ntkgap.studies import assess, assess_variations
from ntkgap.studies.axes import AxisVerdict
from ntkgap.studies.claim import Claim
from ntkgap.studies.verdict import Verdict, WidthResult
from ntkgap.sweep import Runs
from ntkgap.sweep.files import write_atomically, write_json
from ntkgap.texts import spreadsheet_text


def results_table(all_runs: Sequence[Runs]) -> pd.DataFrame:
    """One row a cell of every study; see ``Runs.to_pandas``."""
    frames = []
    for runs in all_runs:
        frame = runs.to_pandas()
        others = frame.drop(columns="study", errors="ignore")
        others.insert(0, "study", runs.study)
        frames.append(others)
    return pd.concat(frames, ignore_index=True)


def csv_text(table: pd.DataFrame, **options: Any) -> str:
    """A table as CSV in which a spreadsheet computes nothing.

    Args:
        table: any.
        options: further ones of ``DataFrame.to_csv``.
    """

    def as_text(value: Any) -> Any:
        return spreadsheet_text(value) if isinstance(value, str) else value

    plain = table.rename(columns=as_text)
    texts = [name for name, kind in table.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    plain = plain.assign(**{as_text(name): table[name].map(as_text) for name in texts})
    return str(plain.to_csv(index=False, **options))


COLUMNS = ("study", "problem", "claim", "axis", "at", "state", "value", "low", "high", "limit", "seeds")


def verdict_frame(runs: Runs) -> pd.DataFrame:
    """One row for each claim, problem and place on an axis.

    Returns:
        Columns ``study``, ``problem`` and ``claim`` (its key); ``axis`` (``"width"`` or a setting such as
        ``"model.depth"``) and ``at`` (the place on it); ``state``: ``"holds"`` or ``"fails"`` if the whole
        interval is on that side of the limit, else ``"inconclusive"``; ``value``, ``low`` and ``high``: the
        median over seeds and its interval, NaN where nothing could be decided; ``limit``: the claim's
        threshold; ``seeds``: their number.
    """
    places: list[tuple[str, Claim, str, Any, WidthResult]] = []
    for verdict in assess(runs):
        places += [(verdict.problem, verdict.claim, "width", r.width, r) for r in verdict.widths]
    for other in assess_variations(runs):
        along = other.along
        places += [(along.problem, other.claim, along.axis, at, r) for at, r in other.results.items()]
    rows = []
    for problem, claim, axis, at, result in places:
        interval = result.interval
        numbers = (interval.value, interval.low, interval.high) if interval else (math.nan,) * 3
        row = (runs.study, problem, claim.key, axis, at, result.state, *numbers, claim.threshold, result.n_seeds)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_tables(
    folder: Path, all_runs: Sequence[Runs], verdicts: Mapping[str, tuple[Sequence[Verdict], Sequence[AxisVerdict]]]
) -> None:
    """Write ``results.csv`` and ``verdicts.json`` into a folder; verdicts by study, over width and other axes."""
    write_atomically(folder / "results.csv", csv_text(results_table(all_runs)))
    records: list[VerdictRecord] = []
    for study, (over_width, along_axes) in verdicts.items():
        records += [verdict_record(v, study) for v in over_width]
        records += [axis_record(v, study) for v in along_axes]
    write_json(folder / "verdicts.json", VERDICTS.dump_python(records))
