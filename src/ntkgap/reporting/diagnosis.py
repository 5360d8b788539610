"""A diagnosis in one line: run it, and read the sentence, the scorecard, the numbers and the page."""

import html
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console

from ntkgap.errors import StoreError, StudyError
from ntkgap.one_line import line_of
from ntkgap.paths import expanded
from ntkgap.reporting.drawings import shown
from ntkgap.reporting.figures import claim_figure
from ntkgap.reporting.marks import COLORS, mark
from ntkgap.reporting.own_folder import PAGE
from ntkgap.reporting.page import draw, report
from ntkgap.reporting.tables import verdict_frame
from ntkgap.reporting.terminal import print_scorecard
from ntkgap.studies import assess, assess_variations, not_asked, study_of
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.claim_keys import asked_key
from ntkgap.studies.diagnosis.own import diagnosis_of
from ntkgap.studies.diagnosis.regime import Name, Regime, regime_of
from ntkgap.studies.figures import StudyFigure, WidthFigure
from ntkgap.studies.verdict import Verdict
from ntkgap.sweep import Runs
from ntkgap.sweep import run as run_study
from ntkgap.sweep.engines import Engine

COLUMNS = 100


def diagnose(
    model: Any,
    data: Any = None,
    *,
    widths: int | Sequence[int] | None = None,
    seeds: int | Sequence[int] = 6,
    train: Any = None,
    tasks: Any = None,
    target: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    store: str | Path | None = None,
    workers: int | None = None,
    device: str | None = None,
    engine: Engine | None = None,
    progress: bool = True,
) -> "Diagnosis":
    r"""Is this network, trained in this way, in the kernel regime, and from which width would it be?

    At every width and seed the network is trained, and its linearized model beside it with the same steps on the
    same batches. The regime follows from the change of the kernel ‖K_T − K_0‖/‖K_0‖ and from the linearization gap

    .. math:: \frac{\lVert f_T - f_0 - J_0(\theta_T - \theta_0) \rVert}{\lVert f_T - f_0 \rVert}

    by the rule of ``ntkgap.studies.diagnosis.regime``. Sources: Jacot et al. 2018; Chizat, Oyallon, Bach 2019;
    Lee et al. 2019; Fort et al. 2020.

    Args:
        model: a function ``build(width)`` that returns an ``nn.Module``, its place ``"my_model.py:build"``, or a
            network as it is; see the page on one's own network.
        data: a pair (x, y) of arrays, a file such as ``"mine.npz:images,labels"``, a frame, a data set, or a name;
            digits if not given.
        widths: 64, 256 and 1024 if not given.
        seeds: how many, or which.
        train: how you train: a function (model, data, seed) -> None or a mapping as of ``BaseStudy.preset``. If
            not given, SGD with momentum 0.9 on ½‖f − y‖² at a tenth of the critical rate, 200 steps.
        tasks: data of tasks that the network learns one after the other besides, a list with a file or a pair
            (x, y) for each: what is forgotten of earlier ones, beside what the linearized model forgets after the
            same steps.
        target: name of the column of targets of a table.
        n_train: training examples; of your data three quarters if not given, and no more than 800.
        n_test: test examples; of your data a quarter if not given, and no more than 256.
        store: directory of the results, so that the same call again goes on; a temporary one if not given.
        workers: processes, by default one a core; ignored if an engine is given.
        device: where cells are computed: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
        engine: computes the cells elsewhere, such as ``ng.DaskEngine(address)``.
        progress: show a bar, or lines where standard error is no terminal.

    Returns:
        The diagnosis; print it.

    Raises:
        NtkgapError: if the network cannot be built, the data not be read, or the training not be tried.

    Example:
        >>> build = lambda width: nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        >>> train, _ = ng.load_data("digits", n_train=32, n_test=8)
        >>> own = {"optimizer": "sgd", "learning_rate": 1e-3, "steps": 10}
        >>> d = ng.diagnose(build, (train.x, train.y.argmax(1)), widths=8, seeds=1, train=own, progress=False)
        >>> "at width 8" in d.sentence
        True
    """
    study = diagnosis_of(
        model,
        data,
        widths=widths,
        seeds=seeds,
        train=train,
        tasks=tasks,
        target=target,
        n_train=n_train,
        n_test=n_test,
        device=device,
    )
    folder = tempfile.TemporaryDirectory(prefix="ntkgap-") if store is None else None
    place = Path(folder.name) / "diagnosis" if folder is not None else expanded(str(store))
    runs = run_study(study, place, workers, progress=progress, engine=engine)
    found = Diagnosis(runs)
    found._folder = folder  # the results live as long as what shows them
    return found


class Diagnosis:
    """In which regime networks are trained, and why.

    Args:
        runs: results of the study ``diagnosis``.
        problem: which of its problems; the first if not given.

    Attributes:
        runs: the results.
        problem: name of the problem.
        found: regime, reason and outlook.

    Raises:
        StoreError: if they are of another study, or no cell of the problem is done.

    Example:
        >>> build = lambda width: nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))
        >>> x = torch.randn(12, 2)
        >>> own = {"optimizer": "sgd", "learning_rate": 1e-2, "steps": 10}
        >>> d = ng.diagnose(build, (x, x.prod(1, keepdim=True)), widths=8, seeds=1, train=own, progress=False)
        >>> d.regime in ("kernel", "mixed", "feature learning", "not trained enough")
        True
    """

    _folder: tempfile.TemporaryDirectory[str] | None = None

    def __init__(self, runs: Runs, problem: str | None = None) -> None:
        if runs.study != "diagnosis":
            raise StoreError(f"{runs.path} holds the study {runs.study!r}, not a diagnosis")
        self.runs = runs
        self._all = assess(runs)
        names = list(dict.fromkeys(v.problem for v in self._all))
        if not names:
            failed = [message for _, message in runs.failures()]
            why = f"every cell failed: {failed[0]}" if failed else "no cell is done yet"
            raise StoreError(f"there is nothing to diagnose in {runs.path}: {why}")
        if problem is not None and problem not in names:
            raise StudyError(f"there is no problem {problem!r} in {runs.path}; it has {', '.join(names)}")
        self.problem = problem or names[0]
        self.found: Regime = regime_of({v.claim.key: v for v in self._verdicts})

    @property
    def _verdicts(self) -> list[Verdict]:
        return [v for v in self._all if v.problem == self.problem]

    @property
    def regime(self) -> Name:
        """``"kernel"``, ``"mixed"``, ``"feature learning"`` or ``"not trained enough"``, at the largest width."""
        return self.found.name

    @property
    def sentence(self) -> str:
        """The regime, the reason with its number, and the width from which the kernel regime would hold."""
        return self.found.sentence

    def verdicts(self) -> pd.DataFrame:
        """One row a claim and width.

        Columns: study, problem, claim, axis, at, state, value (median), low, high, limit, seeds.
        """
        return verdict_frame(self.runs)

    def to_pandas(self) -> pd.DataFrame:
        """One row a cell, with every number that was measured; see ``Runs.to_pandas``."""
        return self.runs.to_pandas()

    def plot(self, quantity: str = "changes") -> Figure:
        """A claim or a number over width, or a figure of the page.

        Args:
            quantity: key of a claim such as ``"linearization_gap"``, its quantity, a figure such as ``"changes"``,
                ``"curves"``, or any number of ``to_pandas``.

        Raises:
            StudyError: if there is no such thing.
        """
        quantity = asked_key(quantity)
        cells = {self.problem: measured_cells(self.runs)[self.problem]}
        claims = [v for v in self._verdicts if quantity in (v.claim.key, v.claim.quantity)]
        spec = None if claims else self._figure(quantity)
        figure = shown(lambda: claim_figure(claims[:1], cells) if spec is None else draw(spec, cells))
        if figure is None:
            raise StudyError(f"{quantity!r} was not measured here")
        return figure

    def _figure(self, quantity: str) -> StudyFigure:
        known = {figure.key: figure for figure in study_of(self.runs).figures()}
        if quantity in known:
            return known[quantity]
        numbers = sorted({name for cell in measured_cells(self.runs)[self.problem] for name in cell.scalars})
        if quantity not in numbers:
            there = [*dict.fromkeys(v.claim.key for v in self._verdicts), *known, *numbers]
            raise StudyError(f"there is no {quantity!r} to plot; choose one of {', '.join(dict.fromkeys(there))}")
        label = quantity.replace("_", " ")
        return WidthFigure(quantity, label, "", label, quantity, ())

    def report(self, folder: str | Path) -> Path:
        """Write the page, ``results.csv`` and ``verdicts.json`` into a folder.

        Returns:
            The path of the page.
        """
        return report(self.runs, expanded(str(folder)) / PAGE)

    def __str__(self) -> str:
        text = io.StringIO()
        console = Console(file=text, width=COLUMNS, markup=False, emoji=False)
        self.print_scorecard(console)
        return f"{self.sentence}\n\n{text.getvalue().rstrip()}"

    def __repr__(self) -> str:
        return line_of(self, self.regime, repr(self.problem), runs=str(self.runs.path))

    def print_scorecard(self, console: Console) -> None:
        """Print claims and verdicts."""
        unasked = [claim for claim in not_asked(self.runs) if claim.problem == self.problem]
        print_scorecard(self._verdicts, console, "The diagnosis", assess_variations(self.runs), unasked)

    def _repr_html_(self) -> str:
        """The sentence, one picture, and the scorecard."""
        rows = []
        for verdict in self._verdicts:
            last, look = verdict.widths[-1], mark(verdict)
            color = f'style="color:{COLORS[look.style]}"'
            rows.append(
                f"<tr><td>{html.escape(verdict.claim.title)}</td>"
                f"<td {color}>{look.symbol} {html.escape(verdict.status)}</td>"
                f"<td>{html.escape(_number(verdict))}</td><td>{last.width}</td></tr>"
            )
        head = "<tr><th>theory says</th><th>verdict</th><th>number</th><th>width</th></tr>"
        drawn = io.StringIO()
        self.plot("changes").savefig(drawn, format="svg")
        picture = drawn.getvalue()
        picture = picture[picture.index("<svg") :]
        return f"<p><strong>{html.escape(self.sentence)}</strong></p>{picture}<table>{head}{''.join(rows)}</table>"


def _number(verdict: Verdict) -> str:
    """The part of the verdict's sentence that has its number."""
    _, _, rest = verdict.sentence.partition("There, ")
    return rest.split("; the limit")[0] if rest else ""
