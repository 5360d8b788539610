"""Renders the results pages: every number of ``README.md`` is filled in from the files published beside it.

``python docs/results/build.py`` writes the pages, ``--check`` only says whether they are up to date.
"""

import re
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module, resources
from operator import attrgetter
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from cells import PageError
from published import Published
from sentences import GLOBALS
from wording import FILTERS

HERE = Path(__file__).parent
TEMPLATE, PAGE = "page.md.j2", "README.md"
LINE_WIDTH = 120
# What a template may call, besides ``GLOBALS``: of the page, and of its main results.
OF_PAGE = ("run", "csv", "constant", "preset", "cited", "unpublished", "require_state")
OF_RESULTS = tuple(name for name in dir(Published) if name[0] != "_" and callable(getattr(Published, name)))


def pages() -> list[Path]:
    """The folders that have a page."""
    return sorted(template.parent for template in HERE.glob(f"*/{TEMPLATE}"))


class Page:
    """A folder with a template, and what the template can ask for beyond the main results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = Published(folder)

    def run(self, name: str) -> Published:
        """Other results below the page's folder."""
        return Published(self.folder / name)

    def csv(self, name: str) -> pd.DataFrame:
        """A published table."""
        return pd.read_csv(self.folder / name)

    def constant(self, module: str, name: str) -> Any:
        """A convention that the program has as a constant."""
        return attrgetter(name)(import_module(module))

    def preset(self, name: str, problem: str) -> dict[str, Any]:
        """The settings of a problem in one of the study's presets."""
        file = resources.files(f"ntkgap.studies.{self.folder.name}") / "presets" / f"{name}.yaml"
        problems = yaml.safe_load(file.read_text(encoding="utf-8"))["problems"]
        found = [p for p in problems if p["name"] == problem]
        if not found:
            raise PageError(f"preset {name} of {self.folder.name} has no problem {problem!r}")
        return found[0]

    def cited(self, key: str) -> Any:
        """A number of somebody else, from ``cited.yaml``, which names the source."""
        return self._look_up(HERE / "cited.yaml", key)

    def unpublished(self, key: str) -> str:
        """A number whose file was never published, from ``unpublished.yaml``, with a mark."""
        return f"{self._look_up(self.folder / 'unpublished.yaml', key)}†"

    def require_state(
        self, sentence: str, claim: str, problems: str | Sequence[str], state: str, from_width: int | None = None
    ) -> None:
        """Let a sentence stand only if the verdicts are such, where asked from exactly this width on."""
        for problem in [problems] if isinstance(problems, str) else problems:
            found = self.main.verdict(claim, problem)
            if found.state != state or (from_width is not None and found.holds_from != from_width):
                wanted = state if from_width is None else f"{state} from width {from_width}"
                raise PageError(
                    f"the data do not say {sentence!r}: {claim} of {problem} is {found.status!r}, not "
                    f"{wanted!r}; rewrite the sentence"
                )

    def render(self) -> str:
        """The text of the page.

        Raises:
            PageError: if the template is wrong, or the data do not support it.
        """
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(self.folder),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.do"],
        )
        environment.filters |= FILTERS
        environment.globals = dict(GLOBALS)
        environment.globals |= {name: getattr(self, name) for name in OF_PAGE}
        environment.globals |= {name: getattr(self.main, name) for name in OF_RESULTS}
        try:
            return flow(environment.get_template(TEMPLATE).render())
        except Exception as error:
            raise PageError(f"{self.folder.name}/{TEMPLATE}, line {_line(error)}: {error}") from error

    def _look_up(self, path: Path, key: str) -> Any:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        if key not in entries:
            raise PageError(f"{path.name} has no entry {key!r}")
        return entries[key]["value"]


def _line(error: Exception) -> int | None:
    """The last line of a template that an error passed through."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(TEMPLATE):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def flow(text: str) -> str:
    """Wrap paragraphs and items of lists; leave headings, tables, pictures and code as they are."""
    written, in_code = [], False
    for block in re.split(r"\n{2,}", text.strip("\n")):
        fences = block.count("```")
        if in_code or fences or block.startswith(("#", "|", "![", "<!--")):
            written.append(block)
        else:
            items = re.split(r"\n(?=[*-] )", block)
            written.append("\n".join(_wrapped(item) for item in items))
        in_code ^= fences % 2 == 1
    return "\n\n".join(written) + "\n"


def _wrapped(item: str) -> str:
    indent = "  " if item.startswith(("* ", "- ")) else ""
    text = re.sub(r"[ \n]+", " ", item).strip()
    return textwrap.fill(
        text, LINE_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` compare them."""
    stale = 0
    for folder in pages():
        try:
            text = Page(folder).render()
        except PageError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        page = folder / PAGE
        if "--check" in arguments:
            if page.read_text(encoding="utf-8") != text:
                print(f"{page} is not what its template and its data give: run python docs/results/build.py")
                stale = 1
        else:
            page.write_text(text, encoding="utf-8")
            print(page)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
