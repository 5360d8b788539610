"""The page in a real browser: what is seen first, that nothing overlaps, charts by mouse and keyboard."""

import csv
import io
import json

import pytest

import ntkgap as ng
from tests.browser import CHROMIUM, Browser
from tests.here import Here

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

# Names as users may choose them: long ones, ones that are formulas, markup or commands to a terminal.
NAMES = ["MLP (3 hidden layers), digits", r"$\foo$ =cmd() [red]", "<script>alert(1)</script> \x1b[31m"]
SIZES = [(1300, 900), (420, 900)]


def problem(name):
    return {
        "name": name,
        "model": {"architecture": "shallow", "nonlinearity": "relu"},
        "data": {"name": "sphere", "n_train": 6, "n_test": 4, "options": {"dim": 4}},
        "widths": [8, 16, 64],
        "natural_gradient": {"steps": 2},
        "gradient_descent": {"steps": 2},
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three studies of three networks each: as many as the default run has."""
    folder = tmp_path_factory.mktemp("page")
    study = ng.OptimizationStudy(seeds=[0, 1], problems=[problem(name) for name in NAMES])
    runs = ng.run(study, folder / "store", engine=Here(), progress=False)
    return ng.report([runs] * 3, folder / "report.html")


@pytest.fixture(scope="module")
def single(page):
    """One of the studies: the charts of the others are the same."""
    return ng.report(ng.Runs(page.parent / "store"), page.parent / "single")


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(autouse=True)
def _nothing_is_complained_of(request, browser):
    browser.complaints.clear()
    yield
    assert browser.complaints == []


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_first_screen_holds_every_answer(page, browser, width, height):
    browser.open(page, width, height)
    assert browser.run("document.querySelectorAll('.study .said').length") == 3
    ends = browser.run("[...document.querySelectorAll('.study')].map(s => s.getBoundingClientRect().bottom)")
    assert len(ends) == 3
    assert max(ends) <= height
    said = browser.run("[...document.querySelectorAll('.study .said')].map(s => s.innerText)")
    outcomes = ("Confirmed", "Refuted", "Inconclusive")
    assert all("Theory:" in text and any(word in text for word in outcomes) for text in said)
    assert browser.run("document.documentElement.scrollWidth") == width


OVERLAPS = """(() => {
  const boxes = [];
  const texts = '.study th:not(.ask), .study .cell .word, .study .said, .study text';
  for (const cell of document.querySelectorAll(texts)) {
    const style = getComputedStyle(cell);
    const range = document.createRange();
    range.selectNodeContents(cell);
    if (style.clipPath !== 'none' || style.visibility === 'hidden') continue;
    for (const box of range.getClientRects()) {
      const seen = box.width > 1 && box.height > 1;
      if (seen) boxes.push([cell, box.left, box.top, box.right, box.bottom, cell.textContent]);
    }
  }
  const found = [];
  boxes.forEach(([a, l, t, r, b, text], i) => boxes.slice(i + 1).forEach(([c, l2, t2, r2, b2, other]) => {
    const inside = Math.min(r, r2) - Math.max(l, l2) > 1.5 && Math.min(b, b2) - Math.max(t, t2) > 2.5;
    if (a !== c && !a.contains(c) && !c.contains(a) && inside) found.push([text, other]);
  }));
  return found;
})()"""


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_no_text_overlaps_another(page, browser, width, height):
    browser.open(page, width, height)
    assert browser.run(OVERLAPS) == []


def shown(browser, place):
    """Follow a link to a place; returns once the chart there is drawn."""
    browser.run(
        f"(location.hash = '{place}', new Promise(done => {{ const look = () => "
        f"document.querySelector('#{place} .chart[data-drawn]') ? done() : setTimeout(look, 30); look(); }}))"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_link_leads_to_a_chart_with_values_and_tools(page, browser, theme):
    browser.open(page, 1300, 900, theme)
    shown(browser, "optimization-kernel_constant")
    assert browser.run("document.querySelectorAll('#optimization-kernel_constant .chart svg').length") > 0
    label = browser.run(
        "document.querySelector('#optimization-kernel_constant .chart').getAttribute('aria-label')"
    )
    assert "measured:" in label
    assert "limit 0.1: 0.1" in label
    tools = "[...document.querySelector('#optimization-kernel_constant .tools').children].map(b => b.textContent)"
    assert browser.run(tools) == ["log / linear", "enlarge", "data", "CSV", "SVG", "PNG"]
    ticks = "document.querySelector('#optimization-kernel_constant .chart svg').textContent"
    before = browser.run(ticks)
    browser.run("document.querySelector('#optimization-kernel_constant .tools button').click()")
    browser.run("new Promise(done => setTimeout(done, 300))")
    assert browser.run(ticks) != before


def test_what_is_downloaded_is_what_is_shown(page, browser):
    browser.open(page, 1300, 900)
    shown(browser, "optimization-kernel_constant")
    # What would be saved is kept instead.
    browser.run(
        "(window.saved = [], URL.createObjectURL = blob => { saved.push(blob); return 'blob:none'; }, "
        "HTMLAnchorElement.prototype.click = function () { saved.push(this.href); }, 0)"
    )
    buttons = "[...document.querySelectorAll('#optimization-kernel_constant .tools button')]"
    for name in ("CSV", "SVG", "PNG"):
        browser.run(f"{buttons}.find(button => button.textContent == '{name}').click()")
        browser.run("new Promise(done => setTimeout(done, 400))")
    table = browser.run("saved.find(x => x.type == 'text/csv').text()")
    rows = list(csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))))
    assert {row["series"] for row in rows} >= {"measured", "single seeds"}
    assert {float(row["x"]) for row in rows if row["series"] == "measured"} == {8, 16, 64}
    assert browser.run("saved.find(x => x.type == 'image/svg+xml').text()").startswith("<svg")
    assert browser.run("saved.some(x => typeof x == 'string' && x.startsWith('data:image/png'))")


def test_every_chart_is_drawn_and_nothing_is_too_wide(single, browser):
    browser.open(single, 420, 900)
    n = browser.run("(document.getElementById('unfold').click(), document.querySelectorAll('.chart').length)")
    drawn = browser.run(
        "(async () => { for (const chart of document.querySelectorAll('.chart')) { chart.scrollIntoView(); "
        "while (!('drawn' in chart.dataset)) await new Promise(done => setTimeout(done, 10)); } "
        "return document.querySelectorAll('.chart[data-drawn] svg').length })()"
    )
    assert drawn == n > 17
    assert browser.run("document.documentElement.scrollWidth") == 420
    assert browser.run("[...document.querySelectorAll('.chart svg')].every(s => s.clientWidth > 200)")


def test_printing_draws_every_chart(single, browser):
    """Also those that were never in view; a chart takes about 40 kB of a PDF, text hardly any."""
    browser.open(single, 1300, 900)
    drawn = "document.querySelectorAll('.chart[data-drawn] svg').length"
    n = browser.run("document.querySelectorAll('.chart').length")
    unfolded = "document.querySelectorAll('main details[open]').length"
    assert browser.run(drawn) < n
    before = browser.run(unfolded)
    printed = browser.call("Page.printToPDF")["data"]
    assert browser.run(drawn) == n
    assert len(printed) > 20_000 * n
    assert browser.run(unfolded) == before


def test_by_keyboard(page, browser):
    """Terms explain themselves, charts enlarge, and escape closes them."""
    browser.open(page, 1300, 900)
    term = "document.querySelector('.study abbr')"
    browser.run(f"{term}.focus()")
    assert browser.run(f"document.activeElement === {term}")
    assert len(browser.run(f"getComputedStyle({term}, '::after').content")) > 40
    shown(browser, "optimization-kernel_constant")
    browser.run("document.querySelectorAll('#optimization-kernel_constant .tools button')[2].focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    assert browser.run("document.getElementById('big').open")
    assert browser.run("document.querySelectorAll('#big td').length") > 20
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape", windowsVirtualKeyCode=27)
    assert not browser.run("document.getElementById('big').open")


def test_names_are_texts(page, browser):
    browser.open(page, 1300, 900)
    text = browser.run("document.querySelector('.study').innerText")
    assert "<script>alert(1)</script>" in text
    assert r"$\foo$ =cmd() [red]" in text
    assert json.loads(browser.run("document.getElementById('records').textContent"))
