"""The Python code in the documentation runs as it stands.

A block behind the comment ``<!-- not run: reason -->`` is only compiled: it needs the reader's files, or minutes.
Every other block runs in a namespace of its own, so it says all that it needs.
"""

import re
import warnings
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
        exec(compiled, {"__name__": "__docs__"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    missing = [to for to in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / to).exists()]
    assert not missing
