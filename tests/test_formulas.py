"""Formulas of the site become MathML, and a bad one ends the build; needs what ``make site`` installs."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("math_core")
application = pytest.importorskip("sphinx.application")

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS))
from generate.formulas import BadFormula, mathml  # noqa: E402
from sphinx.util.docutils import docutils_namespace  # noqa: E402

# A conf.py as that of the site, with nothing else in it.
CONF = f"""
import sys
sys.path.insert(0, {str(DOCS)!r})
from generate.formulas import register as setup
html_math_renderer = "mathml"
"""


def parsed(tex, **options):
    return ElementTree.fromstring(mathml(tex, **options))


def test_a_fraction_has_its_numerator_above_its_denominator():
    math = parsed(r"\frac{a}{b + c}")
    assert math.tag == "math"
    above, below = math.find("mfrac")
    assert ("".join(above.itertext()), "".join(below.itertext())) == ("a", "b+c")


@pytest.mark.parametrize("block", [False, True])
def test_a_formula_stands_in_a_sentence_or_on_a_line_of_its_own(block):
    assert parsed("x", block=block).get("display") == ("block" if block else None)


def test_what_html_would_take_for_tags_is_escaped():
    assert "".join(parsed("a < b > c").itertext()) == "a<b>c"


def test_lines_are_aligned_in_two_columns():
    rows = parsed(r"a &= b \\ c + d &= e").findall("mtable/mtr")
    assert [["".join(cell.itertext()) for cell in row] for row in rows] == [["a", "=b"], ["c+d", "=e"]]


def test_a_table_of_its_own_is_left_as_it_is():
    math = parsed(r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}")
    assert len(math.findall(".//mtable")) == 1
    assert "".join(math.itertext()) == "(abcd)"


@pytest.mark.parametrize(
    ("tex", "wrong"),
    [
        (r"\nosuch{x}", r'Unknown command "\nosuch"'),
        (r"\frac{a}", "reached end of input"),
        (r"x = a & b", "may only appear in a table"),
        (r"\begin{aligned} a", "reached end of input"),
        (r"a &= \nosuch \\ b &= c", r'Unknown command "\nosuch"'),
    ],
)
def test_a_formula_that_cannot_be_read_is_named_with_what_is_wrong(tex, wrong):
    with pytest.raises(BadFormula, match=r"^the formula .* cannot be shown: .*" + re.escape(wrong)) as caught:
        mathml(tex)
    assert repr(tex)[1:-1] in str(caught.value)


def built(folder, text):
    """The page of a site that has no other."""
    folder.joinpath("conf.py").write_text(CONF, encoding="utf-8")
    folder.joinpath("index.rst").write_text(text, encoding="utf-8")
    html = folder / "html"
    with docutils_namespace():
        application.Sphinx(folder, folder, html, folder / "kept", "html", status=None).build()
    return (html / "index.html").read_text(encoding="utf-8")


TITLE = "Title\n=====\n\n"


def test_a_page_shows_formulas_without_a_script(tmp_path):
    side_by_side = r"a = b, \qquad c = d"
    lines = r"e &= f \\ g &= h \qquad i"
    text = f"{TITLE}Inline :math:`x^2`.\n\n.. math:: {side_by_side}\n\n.. math:: {lines}\n"
    page = built(tmp_path, text)
    assert "mathjax" not in page.lower()
    inline, *blocks = re.findall(r"<math\b.*?</math>", page)
    assert 'display="block"' not in inline
    assert ["".join(ElementTree.fromstring(b).itertext()).strip() for b in blocks] == ["a=b,", "c=d", "e=fg=hi"]
    assert all('display="block"' in b for b in blocks)
    # The first two are one paragraph, which breaks between them where there is no room.
    assert [box.count("<math") for box in re.findall(r'<div class="math">.*?</div>', page)] == [2, 1]


@pytest.mark.parametrize("text", [r"Inline :math:`\nosuch`.", r".. math:: \nosuch"], ids=["inline", "block"])
def test_a_bad_formula_ends_the_build(tmp_path, text):
    with pytest.raises(BadFormula, match=r'^the formula .*nosuch.* cannot be shown: .*Unknown command "\\nosuch"'):
        built(tmp_path, f"{TITLE}{text}\n")
