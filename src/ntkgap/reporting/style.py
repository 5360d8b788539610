"""The house style of figures for papers: fonts, colours and strokes, in one place."""

from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl

from ntkgap.reporting.charts import colours
from ntkgap.reporting.fonts import font_families

# Told apart by readers with any colour vision (Okabe, Ito 2008); the same as on the page.
MEASURED, THEORY, LIMIT = colours.MEASURED, colours.THEORY, "#33333a"
REFERENCES = colours.REFERENCES
ordered_colours = colours.ordered

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6ea",
    "grid.linewidth": 0.6,
    "axes.edgecolor": "#55555c",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # given, or else each title is placed by measuring all there is around its panel
    "legend.frameon": True,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.75,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "pdf.fonttype": 42,
    "svg.hashsalt": "ntkgap",
}


def style() -> AbstractContextManager[None]:
    """The look of all figures, as a context."""
    return mpl.rc_context({**STYLE, "font.family": font_families()})
