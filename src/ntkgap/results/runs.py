"""Results of a study as Python shows them: verdicts as a table, figures, and a line or a table for themselves."""

from collections.abc import Callable
from functools import wraps
from html import escape
from typing import TYPE_CHECKING, ParamSpec, Self

import pandas as pd

from ntkgap import studies, sweep
from ntkgap.errors import StoreError
from ntkgap.studies import AxisVerdict, Verdict, assess, assess_variations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")


class Runs(sweep.Runs):
    """Results of one study: what was measured, and the verdicts on it.

    Args:
        path: directory of the store.

    Attributes:
        path: the same, as a ``Path``.
        study: name of the study.
        configuration: what the study was last asked to do.
        looks: the ``schedule`` and ``seeds`` by which seeds were added where a verdict was open; None if all were
            planned at once.

    Raises:
        StoreError: if there is no store at ``path``, or another version of ntkgap wrote it.

    Example:
        >>> study = ng.OptimizationStudy.preset("smoke", widths=[8], seeds=1)
        >>> runs = ng.run(study, "runs/mine", workers=1, progress=False)
        >>> len(runs.to_pandas()), "state" in runs.verdicts()
        (2, True)
    """

    @classmethod
    def of(cls, runs: sweep.Runs) -> Self:
        """The same results; nothing is read again."""
        own = cls.__new__(cls)
        vars(own).update(vars(runs))
        return own

    def assess(self) -> list[Verdict | AxisVerdict]:
        """Every verdict as an object, with its sentence, trend and extrapolation: over width, then other axes."""
        return [*assess(self), *assess_variations(self)]

    def verdicts(self) -> pd.DataFrame:
        """One row for each claim, problem and place on an axis; columns as of ``reporting.tables.verdict_frame``.

        Returns:
            ``study``, ``problem``, ``claim``; ``axis`` and ``at``; ``state`` (``"holds"``, ``"fails"`` or
            ``"inconclusive"``); the median ``value`` with its interval from ``low`` to ``high``; the claim's
            ``limit``; the number of ``seeds``.
        """
        from ntkgap.reporting.tables import verdict_frame

        return verdict_frame(self)

    def figures(self) -> list[str]:
        """The names that ``plot`` takes: claims that were judged, then figures of the study."""
        from ntkgap.reporting.page import figure_names

        return figure_names(self)

    def plot(self, name: str) -> "Figure":
        """A figure of the report: a claim's quantity over width with its limit, or one of the study's own.

        Args:
            name: key of a claim or of a figure; ``figures()`` lists them.

        Raises:
            StoreError: if there is no such figure, or nothing of what it shows was measured.
        """
        from ntkgap.reporting.page import figure_of

        found = figure_of(self, name)
        if found is None:
            names = ", ".join(self.figures())
            raise StoreError(f"{self.path} has nothing to show as {name!r:.80}; choose one of {names}")
        return found

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.counts().items())) or "no cells"
        return f"Runs({self.study}, {counts}, {str(self.path)!r})"

    def _repr_html_(self) -> str:
        """The widest place of every claim on every problem; of a store without verdicts, the line alone."""
        try:
            found = self.verdicts()
        except StoreError as error:
            return f"<p>{escape(repr(self))}: {escape(str(error))}</p>"
        last = found[found.axis == "width"].groupby(["problem", "claim"], sort=False).tail(1)
        table = last.drop(columns=["study", "axis"]).rename(columns={"at": "width"})
        return f"<p>{escape(repr(self))}</p>{table.to_html(index=False, float_format='{:.3g}'.format)}"


def _read(compute: Callable[P, sweep.Runs]) -> Callable[P, Runs]:
    """The same function; what it returns can be read as above."""

    @wraps(compute)
    def computed(*args: P.args, **kwargs: P.kwargs) -> Runs:
        return Runs.of(compute(*args, **kwargs))

    return computed


run = _read(sweep.run)
decide = _read(studies.decide)
