"""What a study wants shown besides its claims: numbers over width or against each other, curves, tables."""

from dataclasses import dataclass

from ntkgap.one_line import one_line


@dataclass(frozen=True)
class WidthFigure:
    """A measured number over width beside what theory says of it, one panel a problem.

    Attributes:
        key: short name, also of the file.
        title: what the figure shows.
        caption: how to read it.
        y_label: axis label.
        measured: name of the measured scalar in a cell's result.
        references: names and labels of scalars drawn as lines beside it, four at most; of the theory, as a rule.
        measured_label: what the measured number is called in the legend.
        log_y: whether the vertical axis is logarithmic.

    Example:
        >>> lines = (("theory", "m^(−1/2)"),)
        >>> figure = ng.studies.WidthFigure("gap", "Gap", "A gap.", "gap", measured="gap", references=lines)
        >>> figure.references
        (('theory', 'm^(−1/2)'),)
    """

    key: str
    title: str
    caption: str
    y_label: str
    measured: str
    references: tuple[tuple[str, str], ...]
    measured_label: str = "measured"
    log_y: bool = True

    __repr__ = one_line


@dataclass(frozen=True)
class Table:
    """Numbers side by side, as text.

    Attributes:
        key: short name.
        title: what the table shows.
        caption: how to read it.
        columns: headings.
        rows: one text a column, the first names the row.

    Example:
        >>> table = ng.studies.Table("sizes", "Sizes", "Weights.", ("network", "parameters"), (("MLP", "1000"),))
        >>> table.columns
        ('network', 'parameters')
    """

    key: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    __repr__ = one_line


@dataclass(frozen=True)
class CurveFigure:
    """Curves over training, one panel a problem, one color a width.

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
        predicted_label: what the predicted curve is called in the legend.
        x: name of the curve of training times at which the others stand, drawn on a logarithmic axis; None if they
            hold every step.

    Example:
        >>> figure = ng.studies.CurveFigure("loss", "Loss", "The loss.", "step", "loss", measured="losses")
        >>> figure.log_y
        True
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
    predicted_label: str = "theory: constant kernel"
    x: str | None = None

    __repr__ = one_line


@dataclass(frozen=True)
class GainFigure:
    """What the largest width gains over training time, with its changes of sign; one panel a problem.

    Attributes:
        key: short name, also of the file.
        title: what the figure shows.
        caption: how to read it.
        x_label: axis label of the training time.
        y_label: axis label of the gain.
        gain: name of the curve of gains in a cell's result.
        x: name of the curve of training times.
        scale: what gains are multiplied by.
    """

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    gain: str
    x: str
    scale: float = 1.0

    __repr__ = one_line


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

    __repr__ = one_line


@dataclass(frozen=True)
class Line:
    """One method in a comparison.

    Attributes:
        label: what a reader calls it.
        measured: name of its curve in a cell's result.
        seconds: name of the curve of seconds at the same steps; None to draw over steps.
        predicted: name of the curve that the kernel at initialization predicts, or None.
        limit: name of the curve that the infinite-width kernel predicts, or None.
        wide: whether it is drawn broad and pale, so that lines on top of it do not hide it.
    """

    label: str
    measured: str
    seconds: str | None = None
    predicted: str | None = None
    limit: str | None = None
    wide: bool = False

    __repr__ = one_line


@dataclass(frozen=True)
class ComparisonFigure:
    """Curves of several methods, one panel a problem, at the largest width at which they were measured.

    Problems without any of the curves are left out.

    Attributes:
        key: short name, also of the file.
        title: what the figure shows.
        caption: how to read it.
        x_label: axis label of steps or seconds.
        y_label: axis label of the curves.
        lines: the methods; the same place in the list is the same color in every figure.
        floor: smaller values are not shown.
        ceiling: nor are larger ones, if given: relative losses begin at 1, what climbs beyond is on its way out.
        level: name of a scalar in a cell's result that is drawn as a constant line, or None.
        level_label: what that line is.
    """

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    floor: float
    ceiling: float | None = 10.0
    level: str | None = None
    level_label: str = ""

    __repr__ = one_line


@dataclass(frozen=True)
class BandRow:
    """One method in a figure of bands, and its limit of infinite width.

    Attributes:
        label: what a reader calls it.
        measured: name of the method at finite width; its curves are ``band_{name}_mean`` and ``band_{name}_std``.
        limit: name of the method at infinite width.
        limit_label: what a reader calls that.
        outline: name of a further method that is outlined beside the limit, or None.
        outline_label: what a reader calls that.
    """

    label: str
    measured: str
    limit: str
    limit_label: str
    outline: str | None = None
    outline_label: str = ""

    __repr__ = one_line


@dataclass(frozen=True)
class BandFigure:
    """Mean ± 2 standard deviations over one-dimensional inputs: a row a method, a column a width, then infinity.

    Drawn from one cell a width, of the smallest seed, of the first problem that has such curves; ``band_x`` holds
    the inputs, ``band_truth`` the function, ``band_train_x`` and ``band_train_y`` the training examples.

    Attributes:
        key: short name, also of the file.
        title: what the figure shows.
        caption: how to read it.
        x_label: axis label of the inputs.
        rows: the methods.
    """

    key: str
    title: str
    caption: str
    x_label: str
    rows: tuple[BandRow, ...]

    __repr__ = one_line


@dataclass(frozen=True)
class Matrix:
    """One matrix in a row of them.

    Attributes:
        label: what a reader calls it.
        curve: name of the curve that holds its entries, row after row.
        widest: whether it is taken at the largest width, or at the smallest.
        predicted: whether theory says it, or it was measured.
    """

    label: str
    curve: str
    widest: bool = True
    predicted: bool = False

    __repr__ = one_line


@dataclass(frozen=True)
class MatrixFigure:
    """Square matrices of fractions beside each other, means over seeds; a row a problem.

    Attributes:
        key: short name, also of the file.
        title: what the figure shows.
        caption: how to read it.
        x_label: what a column is.
        y_label: what a row is.
        matrices: from left to right; a problem that has not all of them shows those it has.
    """

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    matrices: tuple[Matrix, ...]

    __repr__ = one_line


StudyFigure = WidthFigure | CurveFigure | GainFigure | ScatterFigure | ComparisonFigure | BandFigure | MatrixFigure
