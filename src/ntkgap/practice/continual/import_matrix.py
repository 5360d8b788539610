"""Accuracy matrices from arrays, from files, and from the logs of other libraries."""

import csv
import json
import re
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ntkgap.data.archives import read_npz
from ntkgap.errors import DataError
from ntkgap.paths import is_file
from ntkgap.practice.continual.conventions import Array
from ntkgap.practice.continual.metrics import AccuracyMatrix

Format = Literal["matrix", "avalanche", "mammoth"]

# Avalanche: the key of get_all_metrics() for the accuracy on one experience of the test stream.
_AVALANCHE_KEY = re.compile(r"Top1_Acc_Exp/eval_phase/test_stream/Task\d+/Exp(\d+)$")
# Mammoth: utils/loggers.py appends one printed dict a run to logs.pyd. It is searched, not evaluated, for it holds
# the run's arguments, which need not be literals. Newer numpy prints np.float64(…) around numbers.
_MAMMOTH_ENTRY = re.compile(r"'accuracy_(\d+)_task(\d+)': (?:np\.float\d+\()?([-+.\deE]+|nan|inf)")


def import_accuracy_matrix(
    source: Any, *, percent: bool | None = None, format: Format | None = None, run: int | None = None
) -> AccuracyMatrix:
    """Read R[t, s], the accuracy on task s after learning task t.

    Args:
        source: a T × T array, tensor or nested list; the dict of Avalanche's ``get_all_metrics()``; or a file:
            ``.npy``, ``.npz`` and ``.json`` (a matrix alone, or named ``R`` or ``scores`` beside ``joint`` and
            ``initial``; or Avalanche's dict), ``.csv`` (T lines of T numbers, with or without a header and a
            column of names, or Avalanche's ``eval_results.csv``), or Mammoth's ``logs.pyd``.
            Scores that were not taken before a task was learned are left empty or NaN; rows of a nested list
            may instead grow by one entry, 1, 2, …, T.
        percent: whether accuracies are in percent. Mammoth's are; elsewhere numbers above 1 are refused unless
            this says what they are.
        format: "matrix", "avalanche" or "mammoth"; found from the source if not given.
        run: which run of a Mammoth log, from 0 (−1: the last), if it holds several.

    Raises:
        DataError: if the source is missing or cannot be read as an accuracy matrix, or holds fractions beside
            percentages.

    Example:
        >>> ng.continual.import_accuracy_matrix([[90.0], [60.0, 80.0]], percent=True).scores.tolist()
        [[0.9, nan], [0.6, 0.8]]
    """
    if isinstance(source, str | Path):
        source = _read(Path(source), format)
    joint = initial = None
    name = next((n for n in ("R", "scores") if isinstance(source, Mapping) and n in source), None)
    if name is not None:
        joint, initial = (None if source.get(n) is None else _matrix(source[n]) for n in ("joint", "initial"))
        source = source[name]
    if format is None:
        format = "avalanche" if isinstance(source, Mapping | _Lines) else "matrix"
        if isinstance(source, _Runs):
            format = "mammoth"
    if format == "mammoth":
        scores = _mammoth(source, run)
        percent = True if percent is None else percent
    elif format == "avalanche":
        scores, initial = _avalanche(source)
    elif format == "matrix":
        scores = _matrix(source)
    else:
        raise DataError(f"format must be 'matrix', 'avalanche' or 'mammoth', got {format!r}")
    _check_units(scores, {"joint": joint, "initial": initial})
    scale = 100.0 if _is_percent(scores, percent) else 1.0
    joint, initial = (None if part is None else part / scale for part in (joint, initial))
    return AccuracyMatrix(scores / scale, joint, initial)


class _Lines(list[dict[str, str]]):
    """Lines of Avalanche's eval_results.csv."""


class _Runs(list[str]):
    """Lines of Mammoth's logs.pyd, a run each."""


def _read(path: Path, format: Format | None) -> Any:
    if not is_file(path):
        raise DataError(f"there is no file {path}")
    kind = path.suffix.lower()
    try:
        if kind == ".npy":
            with path.open("rb") as file:
                return np.lib.format.read_array(file)
        if kind == ".npz":
            named = read_npz(path)
            if len(named) == 1:
                return named.popitem()[1]
            if not {"R", "scores"} & named.keys():
                raise DataError(f"{path} holds the arrays {', '.join(named)}; name the matrix 'R' or 'scores'")
            return named
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin their files with a byte order mark
        if kind == ".json":
            return json.loads(text)
    except (ValueError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read: {error}") from None
    if kind == ".pyd" or format == "mammoth":
        return _Runs(line for line in text.splitlines() if line.strip())
    if kind == ".csv":
        return _table(text, path)
    raise DataError(f"{path}: a matrix is read from .npy, .npz, .json, .csv or Mammoth's .pyd, not from {kind!r}")


def _table(text: str, path: Path) -> Any:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty")
    if lines[0].replace(" ", "").startswith("eval_exp,training_exp,eval_accuracy"):
        return _Lines(csv.DictReader(lines))
    rows = list(csv.reader(lines))
    # The first score cannot be missing: an empty corner belongs to a header over a column of names.
    if not rows[0][0].strip() or not all(_is_number(entry) for entry in rows[0]):
        rows = rows[1:]
    if all(len(row) == len(rows) + 1 for row in rows):
        rows = [row[1:] for row in rows]
    for number, row in enumerate(rows):
        for entry in row:
            if not _is_number(entry):
                raise DataError(f"{path}: {entry!r} in line {number + 1} of the matrix is not a number")
    return [[float(entry) if entry.strip() else np.nan for entry in row] for row in rows]


def _is_number(entry: str) -> bool:
    try:
        float(entry or "nan")
    except ValueError:
        return not entry.strip()
    return True


def _matrix(source: Any) -> Array:
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, list | tuple) and all(isinstance(row, list | tuple) for row in source):
        lengths = [len(row) for row in source]
        n = len(source)
        if lengths == list(range(1, n + 1)):
            source = [[*row, *[np.nan] * (n - len(row))] for row in source]
        elif any(length != n for length in lengths):
            raise DataError(
                f"the matrix has {n} rows of {lengths} entries; it must be square, or its rows must hold 1, 2, …, "
                "T entries"
            )
        source = [[np.nan if entry is None else entry for entry in row] for row in source]
    try:
        return np.array(source, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{type(source).__name__} cannot be read as a matrix of numbers: {error}") from None


def _check_units(scores: Array, beside: Mapping[str, Array | None]) -> None:
    """Refuse scores in fractions beside others in percent.

    Scores before training may all be below 1 percent; joint training that learns that little has learned nothing.

    Raises:
        DataError: naming the scores that disagree.
    """
    for name, part in beside.items():
        if part is None or not part.size:  # that its size is wrong is said later
            continue
        fractions, others = not (scores > 1).any(), not (part > 1).any()
        if fractions != others and (fractions or name == "joint"):
            units = ("fractions", "percent") if fractions else ("percent", "fractions")
            raise DataError(
                f"R is in {units[0]}, but {name} is in {units[1]}: their largest are {np.nanmax(scores):g} and "
                f"{np.nanmax(part):g}; give all scores in the same units"
            )


def _is_percent(scores: Array, percent: bool | None) -> bool:
    if percent is not None:
        if percent and (scores > 100).any():
            raise DataError(f"the largest accuracy is {np.nanmax(scores):g}, which is more than 100 percent")
        if percent and not (scores > 1).any():
            raise DataError("no accuracy is above 1 percent: these are fractions, leave out percent=True")
        return percent
    if (scores > 1).any():
        raise DataError(
            f"the largest accuracy is {np.nanmax(scores):g}; give percent=True if accuracies are in percent"
        )
    return False


def _assemble(entries: Mapping[tuple[int, int], float], origin: str) -> Array:
    """R from its entries {(t, s): score}, NaN where there is none."""
    if not entries:
        raise DataError(f"there are no accuracies in {origin}")
    n = 1 + max(max(at) for at in entries)
    scores = np.full((n, n), np.nan)
    for at, value in entries.items():
        scores[at] = value
    return scores


def _mammoth(source: Any, run: int | None) -> Array:
    if not isinstance(source, _Runs):
        raise DataError("the format 'mammoth' is that of the file logs.pyd; give its path")
    if run is not None and (isinstance(run, bool) or not isinstance(run, Integral)):
        raise DataError(f"run must be an integer, the number of a run from 0, got {run!r}")
    if run is None and len(source) != 1:
        raise DataError(f"the log holds {len(source)} runs; say which with run=, from 0 (-1: the last)")
    try:
        line = source[run or 0]
    except IndexError:
        raise DataError(f"the log holds {len(source)} runs; there is no run {run}") from None
    found = _MAMMOTH_ENTRY.findall(line)
    entries = {(int(after) - 1, int(task) - 1): float(value) for task, after, value in found}
    return _assemble(entries, "the log; Mammoth writes accuracy_<task>_task<after> for class-il and task-il")


def _avalanche(source: Any) -> tuple[Array, Array | None]:
    if isinstance(source, _Lines):
        entries, before = _avalanche_lines(source)
    elif isinstance(source, Mapping):
        entries, before = _avalanche_metrics(source)
    else:
        raise DataError("the format 'avalanche' is that of get_all_metrics() or of the file eval_results.csv")
    scores = _assemble(entries, "the log; Avalanche calls them Top1_Acc_Exp, of accuracy_metrics(experience=True)")
    complete = set(before) == set(range(len(scores)))
    return scores, np.array([before[s] for s in range(len(scores))]) if complete else None


def _avalanche_lines(lines: _Lines) -> tuple[dict[tuple[int, int], float], dict[int, float]]:
    """CSVLogger: a line for each evaluation; training_exp is None before the first training."""
    entries: dict[tuple[int, int], float] = {}
    before: dict[int, float] = {}
    for number, line in enumerate(lines, start=2):
        try:
            s, accuracy = int(line["eval_exp"]), float(line["eval_accuracy"])
            t = None if line["training_exp"] == "None" else int(line["training_exp"])
        except (TypeError, ValueError):
            raise DataError(f"line {number} is not one of Avalanche's eval_results.csv: {line}") from None
        known = s in before if t is None else (t, s) in entries
        if known:
            raise DataError(
                f"line {number}: experience {s} was already evaluated after experience {t}; "
                "log one evaluation, on the test stream, after each training"
            )
        if t is None:
            before[s] = accuracy
        else:
            entries[t, s] = accuracy
    return entries, before


def _avalanche_metrics(metrics: Mapping[str, Any]) -> tuple[dict[tuple[int, int], float], dict[int, float]]:
    """get_all_metrics(): {name: (iterations x, values)}; evaluations are told apart by x."""
    curves: dict[int, dict[int, float]] = {}
    for name, value in metrics.items():
        found = _AVALANCHE_KEY.match(name)
        if found:
            try:
                x, values = value
                if len(set(x)) != len(x):
                    raise DataError(f"{name} has several values at one iteration; keep one evaluation each")
                curves[int(found[1])] = {int(i): float(v) for i, v in zip(x, values, strict=True)}
            except (TypeError, ValueError) as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"{name} must hold two lists, iterations and values: {error}") from None
    times = sorted({i for curve in curves.values() for i in curve})
    n = 1 + max(curves, default=-1)
    if len(times) not in (n, n + 1):
        raise DataError(
            f"{n} experiences were evaluated at {len(times)} times; there must be one evaluation after each, and "
            "at most one more before the first"
        )
    first = len(times) - n
    entries = {(times.index(i) - first, s): v for s, curve in curves.items() for i, v in curve.items()}
    before = {s: v for (t, s), v in entries.items() if t < 0}
    return {at: v for at, v in entries.items() if at[0] >= 0}, before
