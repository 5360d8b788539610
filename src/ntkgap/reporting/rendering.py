"""The page as HTML: templates, styles and scripts, and what charts show as data in it."""

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from ntkgap.reporting.charts.matrices import MatrixPanel
from ntkgap.reporting.charts.panel import Panel
from ntkgap.reporting.glossary import GLOSSARY, explained
from ntkgap.reporting.marks import COLORS, DARK_COLORS, mark, outlook, trend_text, width_mark
from ntkgap.reporting.strips import WidthAxis
from ntkgap.reporting.summary import bottom_line, how_sure
from ntkgap.studies.verdict import number

if TYPE_CHECKING:
    from ntkgap.reporting.page import StudyPage

LIBRARY = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")


def render(pages: Sequence["StudyPage"], versions: Mapping[str, str], pdf: bool, stores: str) -> str:
    """The page as text.

    Args:
        pages: of every study.
        versions: of what it was made with.
        pdf: whether figures lie beside it as PDFs.
        stores: what says of which stores it is (``own_folder.mark``).
    """
    charts = _Charts()
    scripts = [*library(), _text("templates", "charts.js"), _text("templates", "page.js")]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ntkgap.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
    )
    helpers = (mark, width_mark, outlook, trend_text, bottom_line, number, explained)
    environment.globals |= {helper.__name__: helper for helper in helpers}
    found = [v for page in pages for v in page.verdicts]
    axis = WidthAxis.of(found) if found else None
    return environment.get_template("report.html.j2").render(
        pages=pages,
        axis=axis,
        unmet=any(v.claim.headline and mark(v).style == "unmet" for v in found),
        columns=max((len(page.card.problems) for page in pages), default=0),
        charts=charts,
        colors=COLORS,
        dark_colors=DARK_COLORS,
        glossary=GLOSSARY,
        known=set(),
        versions=versions,
        pdf=pdf,
        stores=stores,
        sure=how_sure([page.card for page in pages if page.verdicts]),
        scripts=[Markup(script) for script in scripts],
        hashes=" ".join(f"'sha256-{script_hash(script)}'" for script in scripts),
    )


@functools.cache
def library() -> tuple[str, ...]:
    """The scripts of the chart library, without the names of maps that are not there."""
    return tuple(_text("assets", name).partition("//# sourceMappingURL")[0] for name in LIBRARY)


def script_hash(script: str) -> str:
    """By which the page allows its own scripts and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _text(folder: str, name: str) -> str:
    return (resources.files("ntkgap.reporting") / folder / name).read_text(encoding="utf-8")


class _Charts:
    """Gathers what charts show while the page is written, each under the name of its place."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Any]] = {}

    def add(self, name: str, panel: Panel | MatrixPanel) -> str:
        """Keep a panel.

        Returns:
            The name.
        """
        self._records[name] = panel.record()
        return name

    @property
    def json(self) -> Markup:
        """All of them as data in a script element, which nothing in them can end."""
        text = json.dumps(self._records, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
        return Markup(text.translate({ord(k): v for k, v in escapes.items()}))
