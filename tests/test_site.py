"""The site has every public name, every key of a preset and every picture; its links lead somewhere."""

import re
import sys
from pathlib import Path

import pytest

import ntkgap as ng
from ntkgap import names
from ntkgap.reporting.glossary import GLOSSARY

DOCS = Path(__file__).parents[1] / "docs"
for folder in (DOCS, DOCS / "learn"):
    sys.path.insert(0, str(folder))
import pictures  # noqa: E402
from generate import api, architecture, glossary, links, offline, presets  # noqa: E402


def test_the_reference_has_every_public_name_once():
    text = "\n".join(api.pages().values())
    listed = re.findall(r"^\.\. auto\w+:: ntkgap\.([\w.]+)$", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    flat = set(ng.__all__) - {"__version__", *names.TOPICS}
    assert flat == {name for name in listed if "." not in name}
    moved = {f"{topic}.{name}" for name, topic in names.MOVED.items()}
    found = {f"{topic}.{name}": getattr(ng, topic) for topic in api.WHOLE for name in getattr(ng, topic).__all__}
    whole = {name for name, module in found.items() if callable(getattr(module, name.rpartition(".")[2]))}
    assert moved | {name for name in whole if name.rpartition(".")[2] not in flat} == {
        name for name in listed if "." in name
    }


def test_every_key_of_a_preset_has_a_meaning():
    page = presets.page()
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 100
    assert not [key for key, kind, default, meaning in rows if not (kind and default and meaning)]
    for model in presets.models_of(ng.ContinualStudy):
        assert f"({presets.anchor(model)})=" in page
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= set(re.findall(r"^\(([\w-]+)\)=", page, re.MULTILINE))


def test_whole_presets_are_shown_as_they_are():
    page = presets.page()
    assert (DOCS.parent / "src/ntkgap/studies/optimization/presets/quick.yaml").read_text(encoding="utf-8") in page


def test_the_glossary_is_that_of_the_report():
    page = glossary.page()
    assert all(f"\n{term}\n: {meaning}\n" in page for term, meaning in GLOSSARY.items())


def test_the_page_of_pictures_shows_all_ten():
    shown = re.findall(r"\((\w+)\.png\)", (DOCS / "learn/ten_pictures.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(pictures.PICTURES)
    assert len(shown) == 10


def test_a_picture_is_drawn(tmp_path):
    assert pictures.draw("three_posteriors", tmp_path).stat().st_size > 5000


def test_the_picture_of_the_code_is_of_this_code():
    packages = [name for layer in architecture.layers() for name in layer]
    assert sorted(packages) == sorted(file.parent.name for file in architecture.SOURCE.glob("*/__init__.py"))
    picture = architecture.picture()
    assert all(f">{name}</text>" in picture and f"| `{name}` |" in architecture.page() for name in packages)
    assert f"{architecture.lines('linalg')} lines" in picture
    assert architecture.lines("linalg") == sum(
        file.read_text(encoding="utf-8").count("\n") for file in (architecture.SOURCE / "linalg").glob("*.py")
    )


def test_arrows_imply_every_import_and_no_other():
    level = {name: i for i, layer in enumerate(architecture.layers()) for name in layer}
    drawn = {name: {other for one, other in architecture.arrows() if one == name} for name in level}

    def below(name):
        return drawn[name].union(*(below(other) for other in drawn[name]))

    for name in level:
        assert all(level[other] > level[name] or other == "sweep" for other in architecture.imports(name))
        assert drawn[name] <= set(architecture.imports(name)) <= below(name)


def test_links_are_rewritten_for_the_site():
    text = "[a](../benchmarks/README.md) [b](../examples/my_study.py) [c](training.md#x) [d](https://a.b)"
    found = links.rewritten(text, DOCS, DOCS)
    code = f"{links.REPOSITORY}/examples/my_study.py"
    assert found == f"[a](generated/benchmarks.md) [b]({code}) [c](training.md#x) [d](https://a.b)"
    with pytest.raises(links.BrokenLink, match=r"gone\.md"):
        links.rewritten("[a](gone.md)", DOCS, DOCS)


def test_every_page_is_in_the_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([\w/]+)$", index, re.MULTILINE))
    pages = [page.relative_to(DOCS) for page in DOCS.rglob("*.md")]
    written = {str(p.with_suffix("")) for p in pages if p.parts[0] not in {"_build", "generated"}} - {"index"}
    assert written <= listed


@pytest.mark.parametrize(
    "loaded",
    [
        '<script defer="defer" src="https://cdn.example/mathjax.js"></script>',
        '<link rel="stylesheet" type="text/css" href="//cdn.example/fonts.css">',
        "<img alt='a' src='http://pictures.example/badge.svg'>",
        '<picture><source srcset="https://pictures.example/wide.webp"></picture>',
        '<img src="a.png" srcset="a.png 1x, https://pictures.example/large.png 2x">',
        '<video poster="//films.example/1.png"></video>',
        '<p style="background: url(https://pictures.example/b.png)">',
        "<style>@import '//cdn.example/c.css';</style>",
        "<IFRAME title=film SRC=https://films.example/1></IFRAME>",
        '<object\ntype="image/svg+xml"\ndata="//pictures.example/plan.svg"></object>',
    ],
)
def test_a_page_that_needs_the_network_is_found(tmp_path, loaded):
    link = '<a href="https://example.org/paper">paper</a><script src="_static/copybutton.js"></script>'
    (tmp_path / "one.html").write_text(link, encoding="utf-8")
    offline.check(tmp_path)
    (tmp_path / "two.html").write_text(link + loaded, encoding="utf-8")
    with pytest.raises(offline.NeedsNetwork, match=r"^1 pages need the network: two\.html loads "):
        offline.check(tmp_path)


def test_what_a_page_does_not_load_is_no_address():
    page = """
        <link rel="canonical" href="https://docs.example/index.html"> <a href="https://example.org/a.png">picture</a>
        <img src="data:image/png;base64,AA=="> <img alt="https://example.org" src="_images/http.png">
        <script src="_static/copy.js"></script> <script>const home = "https://example.org";</script>
        <p>Write &lt;img src="https://example.org/a.png"&gt; for a picture.</p>
    """
    assert offline.addresses(page) == []
    loads = '<img src="https://one.example/a.png"><link href="//two.example/b.css">'
    assert offline.addresses(page + loads) == ["https://one.example/a.png", "//two.example/b.css"]


def test_a_style_sheet_loads_nothing(tmp_path):
    own = (
        "@import 'own.css'; a { background: url(picture.png) } b { background: url('data:image/png;base64,AA==') }"
    )
    (tmp_path / "own.css").write_text(own, encoding="utf-8")
    offline.check(tmp_path)
    for rule in ("@import '//one.example/a.css';", 'a { background: url("https://one.example/a.css") }'):
        (tmp_path / "other.css").write_text(own + rule, encoding="utf-8")
        with pytest.raises(offline.NeedsNetwork, match=r"other\.css loads (https:)?//one\.example/a\.css"):
            offline.check(tmp_path)


def test_the_first_pages_that_need_the_network_are_named(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a", "b", "c", "deep/d"):
        page = f'<img src="https://{name[-1]}.example/1"><img src="https://{name[-1]}.example/2">'
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
    (tmp_path / "a.txt").write_text('<img src="https://example.org">', encoding="utf-8")
    words = "; ".join(f"{name}.html loads https://{name}.example/1" for name in "abc")
    with pytest.raises(offline.NeedsNetwork) as caught:
        offline.check(tmp_path)
    assert str(caught.value) == f"4 pages need the network: {words}"
    for name in "abc":
        (tmp_path / f"{name}.html").unlink()
    with pytest.raises(
        offline.NeedsNetwork, match=r"^1 pages need the network: deep.d\.html loads https://d\.example/1"
    ):
        offline.check(tmp_path)
