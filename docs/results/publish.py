"""Copies from a finished store what a results page needs.

``python docs/results/publish.py STORE FOLDER`` writes into the page's folder ``results.csv``, ``verdicts.json``,
``preset.yaml``, ``curves.csv`` and the pictures that its template shows; with ``--pdf`` also all figures of the
report, as PDF, which is for papers and not for the repository. Then ``python docs/results/build.py`` fills in the
page, or names the first sentence that the new data do not support.
"""

import argparse
import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from build import TEMPLATE
from cells import OF_A_CURVE
from matplotlib import pyplot as plt
from small import shrink

from ntkgap.reporting import report
from ntkgap.reporting.drawings import draw
from ntkgap.reporting.figures import claim_figure
from ntkgap.reporting.style import style
from ntkgap.reporting.summary import Scorecard
from ntkgap.reporting.tables import csv_text, results_table, write_tables
from ntkgap.studies import assess, assess_variations, study_of
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.measured import Measured
from ntkgap.sweep import Runs
from ntkgap.sweep.files import read_json, write_json

DIGITS = 6
DOTS_PER_INCH = 110
# By study: curves with the curve of their places, or of other places.
CURVES: dict[str, tuple[tuple[str, str], ...]] = {
    "optimization": (),
    "continual": (
        *((name, "stops") for name in ("forgetting", "average", "train_score", "train_loss")),
        *((f"drop_{part}", "stops") for part in ("total", "training", "matched")),
        *((name, "scores_wanted") for name in ("forgetting_at_score", "train_score_at_score", "steps_to_score")),
    ),
    "uncertainty": (),
}


def publish(store: Path, folder: Path, pdf: bool = False) -> None:
    """Write what a page needs of a store.

    Args:
        store: where the run lies; it is only read.
        folder: of the page.
        pdf: whether all figures of the report go into ``figures`` as PDF.

    Raises:
        StoreError: if there is no store, or nothing is done in it.
    """
    runs = Runs(store)
    folder.mkdir(parents=True, exist_ok=True)
    publish_tables(runs, folder)
    publish_pictures(runs, folder)
    if not pdf:
        return
    with tempfile.TemporaryDirectory() as made:
        report(runs, Path(made) / "report.html", pdf=True)
        shutil.rmtree(folder / "figures", ignore_errors=True)
        shutil.copytree(Path(made) / "figures", folder / "figures")


def publish_tables(runs: Runs, folder: Path) -> None:
    """Write ``results.csv``, ``verdicts.json``, ``preset.yaml`` and, where there are any, ``curves.csv``."""
    table = csv_text(results_table([runs]), float_format=f"%.{DIGITS}g")
    (folder / "results.csv").write_text(table, encoding="utf-8")
    with tempfile.TemporaryDirectory() as made:
        write_tables(Path(made), [runs], {runs.study: (assess(runs), assess_variations(runs))})
        write_json(folder / "verdicts.json", rounded(read_json(Path(made) / "verdicts.json")))
    preset = yaml.safe_dump(runs.configuration, sort_keys=False, allow_unicode=True, width=115)
    (folder / "preset.yaml").write_text(preset, encoding="utf-8")
    cells = [cell for found in measured_cells(runs).values() for cell in found]
    rows = [row for cell in cells for row in curve_rows(cell, CURVES[runs.study])]
    if rows:
        table = pd.DataFrame(rows, columns=[*OF_A_CURVE, "place", "value"])
        wide = table.pivot(index=list(OF_A_CURVE), columns="place", values="value").reset_index()
        wide.to_csv(folder / "curves.csv", index=False, float_format=f"%.{DIGITS}g")


def publish_pictures(runs: Runs, folder: Path) -> None:
    """Draw the pictures that the template of a page shows, by the names of claims and figures."""
    wanted = set(re.findall(r"\]\((\w+)\.png\)", (folder / TEMPLATE).read_text(encoding="utf-8")))
    cells, card = measured_cells(runs), Scorecard.of(assess(runs))
    with style():
        drawn = {c.key: claim_figure(card.row(c), cells) for c in card.claims if c.key in wanted}
        specs = [spec for spec in study_of(runs).figures() if spec.key in wanted]
        drawn |= {spec.key: figure for spec in specs if (figure := draw(spec, cells)) is not None}
        for key, figure in drawn.items():
            figure.savefig(folder / f"{key}.png", dpi=DOTS_PER_INCH, metadata={"Software": None})
            shrink(folder / f"{key}.png")
            plt.close(figure)
    if missing := wanted - set(drawn):
        print(f"not drawn, as this run has nothing to show: {', '.join(sorted(missing))}")


def rounded(value: Any) -> Any:
    """The same with six significant digits of every float."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) and math.isfinite(value) else value


def curve_rows(cell: Measured, curves: Sequence[tuple[str, str]]) -> Iterator[tuple[Any, ...]]:
    """What a curve is of, with a place and the value there, of all curves that a cell has."""
    place = (cell.cell["problem"], cell.width, cell.seed, None)
    for name, at in curves:
        if name in cell.curves and at in cell.curves:
            for x, y in zip(cell.curves[at], cell.curves[name], strict=True):
                yield (*place, name, x, y)
    for stop, forgotten in zip(cell.curves.get("stops", []), first_task_forgetting(cell.curves), strict=False):
        yield (*place, "first_task_forgetting", stop, forgotten)


def first_task_forgetting(curves: Mapping[str, list[float]]) -> list[float]:
    """The best score of the first task before the last task was learned less its score in the end, by stop."""
    found = []
    for i in range(len(curves.get("stops", []))):
        scores = np.asarray(curves[f"scores_{i}"])
        of_first = scores.reshape(math.isqrt(scores.size), -1)[:, 0]  # [tasks learned, tasks]
        found.append(float(of_first[:-1].max() - of_first[-1]))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pdf", action="store_true", help="write every figure of the report as PDF, too")
    arguments = parser.parse_args()
    publish(arguments.store, arguments.folder, arguments.pdf)
