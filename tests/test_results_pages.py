"""Every number of a results page comes from the files published beside it."""

import json
import re
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
sys.path.insert(0, str(RESULTS))
import build  # noqa: E402
import lint  # noqa: E402
from cells import PageError  # noqa: E402
from wording import FILTERS  # noqa: E402

from ntkgap.studies.statistics import Interval  # noqa: E402

PAGES = build.pages()
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
# A number of each page: its quantity, problem and width.
SHOWN = {
    "optimization": ("c_prime", "MLP (3 hidden layers), MNIST", 2048),
    "continual": ("gap_initial_long", "rotated MNIST, MLP (1 hidden layer)", 512),
    "uncertainty": ("ntk_gp_width", "MLP (3 hidden layers), toy", 512),
}


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def folder(request):
    return request.param


def test_the_page_is_what_its_template_and_its_files_give(folder):
    assert build.Page(folder).render() == (folder / build.PAGE).read_text(encoding="utf-8")


def test_another_number_in_a_file_is_another_page(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.pdf", "*.png"))
    frame = pd.read_csv(copy / "results.csv", low_memory=False)
    quantity, problem, width = SHOWN[folder.name]
    place = frame[(frame["problem"] == problem) & (frame["width"] == width) & frame["variation"].isna()]
    middle = place[quantity].sort_values().index[len(place) // 2]
    frame.loc[middle, quantity] *= 1.7
    frame.to_csv(copy / "results.csv", index=False)
    assert rendered_or_refused(copy) != (folder / build.PAGE).read_text(encoding="utf-8")


def test_another_verdict_is_another_page_or_none(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.pdf", "*.png"))
    verdicts = json.loads((copy / "verdicts.json").read_text(encoding="utf-8"))
    for verdict in verdicts:
        if verdict.get("state") == "fails":
            verdict["state"] = verdict["status"] = "inconclusive" if "points" in verdict else "undecided"
    (copy / "verdicts.json").write_text(json.dumps(verdicts), encoding="utf-8")
    assert rendered_or_refused(copy) != (folder / build.PAGE).read_text(encoding="utf-8")


def rendered_or_refused(folder):
    try:
        return build.Page(folder).render()
    except PageError as error:
        return str(error)


def test_no_number_is_typed(folder):
    assert not lint.faults(folder)


def test_links_lead_somewhere(folder):
    text = (folder / build.PAGE).read_text(encoding="utf-8")
    assert not [to for to in LINK.findall(text) if not (folder / to).exists()]


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("It is {{ median('c_prime', P, 64) | sig(2) }} at best.", []),
        ("It is 12.5 at best.", ["'12.5'"]),
        ("Below ½ it holds.", ["'½'"]),
        ("See `x = 3`, [a page](b2.md) and Jacot et al. 2018.", []),
        ("# The first 3\n", []),
        ("{{ 62 }} of them", ["62"]),
        ("{{ 62 | sig(2) }}", ["62"]),
        ("{% set x = '62 %' %}{{ x }}", ["62"]),
        ("{{ widths(P, 8)[0] * 100 }}", []),
        ("{{ widths(P, 8)[0] * 37 }}", ["37"]),
        ("{% for w in [8, 16] %}{{ w }}{% endfor %}", ["8", "16"]),
        ("{% macro m(x) %}{{ x }}{% endmacro %}{{ m(17) }}", ["17"]),
        ("{% do require('a few', median('c_prime', P, 64), '<', 5) %}", []),
    ],
)
def test_the_lint_finds_typed_numbers(template, found):
    faults = lint.bare_numerals(template)
    assert len(faults) == len(found)
    assert all(any(number in fault for fault in faults) for number in found)


# As versions before records had one form wrote them.
OLD = {
    "study": "s",
    "claim": "c",
    "problem": "P",
    "state": "fails",
    "status": "fails",
    "sentence": "Fails.",
    "statement": "It is small.",
    "source": "",
    "kind": "consequence",
    "quantity": "q",
    "criterion": "below 2",
    "threshold": 2.0,
    "direction": "below",
    "effect": 1.5,
    "holds_from": None,
    "widths": [],
}


def write_results(folder, template, medians=(3.0, 1.0)):
    folder.mkdir(exist_ok=True)
    rows = [
        {"problem": "P", "width": width, "seed": seed, "variation": None, "state": "done", "q": value + seed}
        for width, value in zip((8, 16), medians, strict=True)
        for seed in range(3)
    ]
    pd.DataFrame(rows).to_csv(folder / "results.csv", index=False)
    (folder / "verdicts.json").write_text(json.dumps([OLD]))
    (folder / build.TEMPLATE).write_text(template)
    return build.Page(folder)


def test_a_page_shows_medians_with_the_interval_of_the_verdicts(tmp_path):
    page = write_results(
        tmp_path / "p",
        "{{ interval('q', 'P', 8) | fixed(1) }} {{ spread(values('q', 'P', 8) - "
        "values('q', 'P', 16)) | fixed(0) }}",
    )
    assert page.render() == "4.0 [3.0, 5.0] 2 [2, 2]\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{% do require('it grows', median('q', 'P', 16), '>', median('q', 'P', 8)) %}",
            "line 1: .*'it grows'.*2.0.*4.0",
        ),
        ("{% do require_state('it holds', 'c', 'P', 'holds') %}", "'it holds'.*c of P is 'fails'"),
        ("a\n\n{{ median('q', 'P', 9) }}", "line 3: .*width 9"),
        ("{{ median('z', 'P', 8) }}", "no quantity 'z'"),
        ("{{ holds_from('c', 'P') }}", "holds from no width"),
        ("{{ median('q', 'Q', 8) }}", "no problem 'Q'"),
        ("{{ seed }}", "'seed' is undefined"),
    ],
)
def test_a_sentence_that_the_data_do_not_support_is_refused(tmp_path, template, message):
    with pytest.raises(PageError, match=message):
        write_results(tmp_path / "p", template).render()


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (FILTERS["sig"](2252.7, 3), "2250"),
        (FILTERS["sig"](-0.0456), "−0.046"),
        (FILTERS["sig"](411039.0), "410\N{NO-BREAK SPACE}000"),
        (FILTERS["sig"](5.83e7), "5.8·10⁷"),
        (FILTERS["sig"](1e-9, 1), "10⁻⁹"),
        (FILTERS["sig"](Interval(0.863, 0.717, 1.262)), "0.86 [0.72, 1.26]"),
        (FILTERS["percent"](Interval(0.353, 0.249, 0.431)), "35 % [25, 43]"),
        (FILTERS["percent"](1.114), "111 %"),
        (FILTERS["percent"](0.00155, 1), "0.2 %"),
        (FILTERS["points"](-0.0004, 1), "0.0"),
        (FILTERS["sig"](0.0), "0"),
        (FILTERS["fixed"](float("inf")), "∞"),
    ],
)
def test_numbers_are_written_alike(written, text):
    assert written == text


def test_paragraphs_are_wrapped_and_tables_are_not():
    long = " ".join(["word"] * 40)
    text = build.flow(f"# Title\n\n{long}\n\n- {long}\n- two   words\n\n| {long} |\n\n```sh\n{long}\n```\n")
    lines = text.splitlines()
    assert lines[0] == "# Title"
    assert max(len(line) for line in lines if line.startswith(("word", "-", "  "))) > 100
    assert [line for line in lines if len(line) > build.LINE_WIDTH] == [f"| {long} |", long]
    assert "- two words" in lines
    assert lines[lines.index("- two words") - 1].startswith("  word")


def test_no_entry_beside_the_pages_is_left_over():
    templates = {page: (page / build.TEMPLATE).read_text(encoding="utf-8") for page in PAGES}
    together = "\n".join(templates.values())
    for path in [RESULTS / "cited.yaml", *(page / "unpublished.yaml" for page in PAGES)]:
        text = templates.get(path.parent, together)
        for key in yaml.safe_load(path.read_text(encoding="utf-8")):
            assert f'{path.stem}("{key}")' in text or f'{path.stem}("{key.rpartition("_")[0]}_" ~' in text, key
    prose = re.sub(r"\s+", " ", together)
    assert not [phrase for phrase in lint.allowed() if phrase not in prose]
