"""Formulas as MathML, which browsers show by themselves: a page needs no script and no network."""

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.writers.html5 import HTML5Translator

CONVERTER = LatexToMathML(fancy_error=False)


class BadFormula(SphinxError):
    """A formula that cannot be shown; it ends the build."""


def mathml(tex: str, block: bool = False) -> str:
    r"""A formula as a ``<math>`` element.

    Args:
        tex: TeX without delimiters; lines that ``\\`` ends are aligned at ``&``.
        block: whether it stands on lines of its own.

    Raises:
        BadFormula: naming the formula and what is wrong with it.
    """
    if r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    try:
        return CONVERTER.convert_with_local_state(tex, displaystyle=block)
    except LatexError as error:
        raise BadFormula(f"the formula {tex!r} cannot be shown: {error}") from error


def show_inline(writer: HTML5Translator, node: nodes.math) -> None:
    """A formula in a sentence."""
    writer.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def show_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    r"""A formula on lines of its own; those that ``\qquad`` separates stand side by side where there is room."""
    tex = node.astext()
    parts = [tex] if r"\begin" in tex or r"\\" in tex else tex.split(r"\qquad")
    formulas = "".join(mathml(part, block=True) for part in parts)
    writer.body.append(f'<div class="math">{formulas}</div>\n')
    raise nodes.SkipNode


def register(app: Sphinx) -> None:
    """Make it the renderer that ``html_math_renderer = "mathml"`` names."""
    app.add_html_math_renderer("mathml", (show_inline, None), (show_block, None))
