"""Matrices of accuracies from files, and from the logs of other libraries."""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ntkgap.errors import StudyError
from ntkgap.practice.continual.metrics import AccuracyMatrix

SUFFIXES = (".csv", ".npy", ".npz", ".json", ".pyd")

# How Avalanche names the accuracy on an experience in the dictionary of all metrics.
AVALANCHE = re.compile(r"Top1_Acc_Exp/eval_phase/[^/]+/Task\d+/Exp(\d+)")

# How Mammoth names the accuracy on task s after task t, both from 1.
MAMMOTH = re.compile(r"accuracy_(\d+)_task(\d+)")


def import_accuracy_matrix(source: Any, *, percent: bool | None = None) -> AccuracyMatrix:
    """Read R[t, s], the accuracy on task s after training on task t.

    What is understood:

    * an array, tensor or list of T × T numbers;
    * ``.npy``; ``.npz`` with an array ``R``, ``scores`` or a single one, and if there are, ``joint`` and
      ``initial``;
    * ``.csv`` of T × T numbers, with or without a row of headings and a column of names;
    * ``.json`` of a T × T list, or of a mapping with the names of ``.npz``;
    * Avalanche: the mapping that ``EvaluationPlugin.get_all_metrics()`` returns, or its ``.json``, and the
      ``eval_results.csv`` of its ``CSVLogger``;
    * Mammoth: the last line of ``logs.pyd``, a dictionary with ``accuracy_{s}_task{t}`` in per cent.

    Args:
        source: one of those, or the path of such a file.
        percent: whether accuracies are per cents; if not given they are where one is above 1. A matrix whose
            per cents are all 1 or less needs ``True``.

    Raises:
        StudyError: if the source is not understood or not readable, is not square, or has NaN where tasks were
            learned already.
    """
    if isinstance(source, str | Path):
        found = _read(Path(source))
    else:
        found = _parts(source, "the source")
    values = {name: _array(part, name) for name, part in found.items()}
    scale = 100.0 if _in_percent(values, percent) else 1.0
    tensors = {name: torch.as_tensor(part / scale) for name, part in values.items()}
    return AccuracyMatrix(tensors["scores"], tensors.get("joint"), tensors.get("initial"))


def _read(path: Path) -> dict[str, Any]:
    if path.suffix not in SUFFIXES:
        raise StudyError(f"{path} is of no kind that can be read; give one of {', '.join(SUFFIXES)}, or an array")
    if not path.is_file():
        raise StudyError(f"there is no file {path.absolute()}")
    try:
        match path.suffix:
            case ".npy":
                return {"scores": np.load(path)}
            case ".npz":
                with np.load(path) as arrays:
                    return _parts(dict(arrays), str(path))
            case ".json":
                return _parts(json.loads(path.read_text(encoding="utf-8")), str(path))
            case ".pyd":
                lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
                return _parts(ast.literal_eval(lines[-1]) if lines else {}, str(path))
            case _:
                return {"scores": _from_csv(path)}
    except (OSError, ValueError, SyntaxError, UnicodeDecodeError) as error:
        raise StudyError(f"cannot read {path}: {error}") from error


def _parts(source: Any, what: str) -> dict[str, Any]:
    """Scores, and what else is given, of a mapping; anything else is taken for the scores."""
    if not isinstance(source, Mapping):
        return {"scores": source}
    keys = [str(key) for key in source]
    if any(AVALANCHE.fullmatch(key) for key in keys):
        return {"scores": _from_avalanche(source)}
    if any(MAMMOTH.fullmatch(key) for key in keys):
        return {"scores": _from_mammoth(source)}
    name = next((n for n in ("R", "scores") if n in source), keys[0] if len(keys) == 1 else None)
    if name is None:
        raise StudyError(
            f"{what} holds {', '.join(keys[:8]) or 'nothing'}; it needs 'R' or 'scores', accuracies of Avalanche "
            "('Top1_Acc_Exp/eval_phase/…/Exp000') or of Mammoth ('accuracy_1_task1')"
        )
    return {"scores": source[name]} | {n: source[n] for n in ("joint", "initial") if n in source}


def _from_avalanche(metrics: Mapping[str, Any]) -> np.ndarray:
    """Columns of all experiences; each holds (steps, values), one value an evaluation after a training."""
    columns = {int(m[1]): metrics[key][1] for key in metrics if (m := AVALANCHE.fullmatch(str(key)))}
    lengths = {s: len(values) for s, values in columns.items()}
    tasks = len(columns)
    if sorted(columns) != list(range(tasks)) or set(lengths.values()) not in ({tasks}, {tasks + 1}):
        raise StudyError(
            f"Avalanche's metrics have {tasks} experiences with {sorted(set(lengths.values()))} evaluations; a "
            f"matrix "
            "takes one evaluation of every experience after each training (and one before, which is left out)"
        )
    return np.array([columns[s][-tasks:] for s in range(tasks)], dtype=float).T


def _from_mammoth(log: Mapping[str, Any]) -> np.ndarray:
    entries = {(int(m[2]), int(m[1])): log[key] for key in log if (m := MAMMOTH.fullmatch(str(key)))}
    tasks = max(max(place) for place in entries)
    matrix = np.full((tasks, tasks), np.nan)
    for (t, s), value in entries.items():
        matrix[t - 1, s - 1] = float(value)
    return matrix


def _from_csv(path: Path) -> np.ndarray:
    table = pd.read_csv(path)
    if {"eval_exp", "training_exp", "eval_accuracy"} <= set(table.columns):
        last = table.groupby(["training_exp", "eval_exp"], as_index=False).last()
        return last.pivot(index="training_exp", columns="eval_exp", values="eval_accuracy").to_numpy(dtype=float)
    raw = pd.read_csv(path, header=None)
    numbers = raw.apply(pd.to_numeric, errors="coerce")
    if len(raw) == raw.shape[1] + 1 or (len(raw) == raw.shape[1] and numbers.iloc[0, 1:].isna().all()):
        numbers, raw = numbers.iloc[1:], raw.iloc[1:]  # headings
    if numbers.shape[1] == len(numbers) + 1 or (numbers.shape[1] > 1 and numbers.iloc[:, 0].isna().all()):
        numbers, raw = numbers.iloc[:, 1:], raw.iloc[:, 1:]  # names
    if (numbers.isna() & raw.notna()).to_numpy().any():
        odd = raw.to_numpy()[(numbers.isna() & raw.notna()).to_numpy()][0]
        raise ValueError(f"{odd!r} is no number")
    return numbers.to_numpy(dtype=float)


def _array(values: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, dtype=float)
    except (TypeError, ValueError) as error:
        raise StudyError(f"{name} must be numbers in rows of one length: {error}") from error


def _in_percent(values: Mapping[str, np.ndarray], percent: bool | None) -> bool:
    known = np.concatenate([part[np.isfinite(part)].ravel() for part in values.values()])
    largest = float(known.max()) if known.size else 0.0
    if percent is None:
        percent = largest > 1
    if percent and largest > 100:
        raise StudyError(f"accuracies go up to {largest:g}, beyond 100 per cent")
    return percent
