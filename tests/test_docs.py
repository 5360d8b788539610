"""The Python code in the documentation runs as it stands.

A block behind the comment ``<!-- not run: reason -->`` is only compiled: it needs the reader's files, or minutes.
Every other block runs in a namespace of its own, so it says all that it needs. The cells of a notebook run as one.
Cells of a study are computed in this process: workers have tests of their own.
"""

import re
import warnings
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.usefixtures("in_process")
ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = ("_build", "generated", "results")  # by the site; results pages have tests of their own
WRITTEN = [page for page in sorted(DOCS.rglob("*.md")) if page.relative_to(DOCS).parts[0] not in MADE]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *WRITTEN]
NOTEBOOKS = [page for page in PAGES if "```{code-cell}" in page.read_text(encoding="utf-8")]
CELL = re.compile(r"```\{code-cell\}[^\n]*\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n+)?```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def blocks():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start(2)) + 1
            yield pytest.param(found[2], page, line, bool(found[1]), id=f"{page.name}:{line}")


@pytest.mark.parametrize(("code", "page", "line", "only_compiled"), list(blocks()))
def test_code_block_runs(code, page, line, only_compiled, tmp_path, monkeypatch):
    compiled = compile("\n" * (line - 1) + code, str(page), "exec")  # tracebacks name the page's own lines
    if only_compiled:
        return
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*torch.jit.script")  # of torch itself, in its first jvp
        exec(compiled, {"__name__": "__docs__"})


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.name)
def test_cells_of_a_notebook_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "".join(CELL.findall(page.read_text(encoding="utf-8")))
    exec(compile(code, str(page), "exec"), {"__name__": "__docs__"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    missing = [to for to in LINK.findall(text) if "generated/" not in to and not (page.parent / to).exists()]
    assert not missing
