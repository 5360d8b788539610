"""What a study wants shown besides its claims: numbers over width or against each other, curves, tables."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WidthFigure:
    """A measured number over width beside what theory says of it, one panel a problem.

    Attributes:
        key: short name, also of the file.
        title: what the figure shows.
        caption: how to read it.
        y_label: axis label.
        measured: name of the measured scalar in a cell's result.
        references: names and labels of scalars of the theory, drawn as lines.
    """

    key: str
    title: str
    caption: str
    y_label: str
    measured: str
    references: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Numbers side by side, as text.

    Attributes:
        key: short name.
        title: what the table shows.
        caption: how to read it.
        columns: headings.
        rows: one text a column, the first names the row.
    """

    key: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class CurveFigure:
    """Curves over training, one panel a problem, one colour a width.

    Attributes:
        key: short name, also of the file.
        title: what the figure shows.
        caption: how to read it.
        x_label: axis label of the training time.
        y_label: axis label of the curves.
        measured: name of the measured curve in a cell's result.
        predicted: name of the predicted curve, or None.
        limit: name of the curve that the infinite-width kernel predicts, drawn for the widest networks, or None.
        level: a constant line of the theory, or None.
        level_label: what that line is.
        log_y: whether the vertical axis is logarithmic.
    """

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    measured: str
    predicted: str | None = None
    limit: str | None = None
    level: float | None = None
    level_label: str = ""
    log_y: bool = True


@dataclass(frozen=True)
class ScatterFigure:
    """One measured number against another, a point a cell, one panel a problem, shaded by width.

    Attributes:
        key: short name, also of the file.
        title: what the figure shows.
        caption: how to read it.
        x_label: axis label.
        y_label: axis label.
        x: name of the scalar drawn to the right.
        y: name of the scalar drawn upwards.
        x_limit: where a vertical line parts the panel.
        y_limit: where a horizontal line parts it.
        quadrants: what the four parts mean: upper left, upper right, lower left, lower right.
    """

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    x: str
    y: str
    x_limit: float
    y_limit: float
    quadrants: tuple[str, str, str, str]


StudyFigure = WidthFigure | CurveFigure | ScatterFigure
