"""How the site is built: ``make site`` writes it into ``docs/_build/html``."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from generate import api, architecture, formulas, glossary, links, offline, presets  # noqa: E402

import ntkgap  # noqa: E402

project = "ntkgap"
author = copyright = "The ntkgap developers"
release = version = ntkgap.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**/page.md.j2", "results/*/*/*.md"]
html_theme = "furo"
html_title = f"ntkgap {release}"
html_static_path = ["static"]
html_css_files = ["formulas.css", "print.css"]
html_math_renderer = "mathml"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 4
myst_update_mathjax = False
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "notebooks")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
maximum_signature_line_length = 100


def write_pages() -> None:
    """The pages that come from the code, before the site is read."""
    folder = DOCS / "generated"
    (folder / "api").mkdir(parents=True, exist_ok=True)
    (folder / "glossary.md").write_text(glossary.page(), encoding="utf-8")
    (folder / "presets.md").write_text(presets.page(), encoding="utf-8")
    (folder / "architecture.md").write_text(architecture.page(), encoding="utf-8")
    (folder / "architecture.svg").write_text(architecture.picture(), encoding="utf-8")
    for name, text in api.pages().items():
        (folder / "api" / name).write_text(text, encoding="utf-8")
    links.take_over()


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Links to files outside of the site lead to the repository; a link to nothing ends the build."""
    path = Path(app.env.doc2path(name))
    if path.suffix == ".md" and not path.is_relative_to(DOCS / "generated"):
        source[0] = links.rewritten(source[0], path.parent, path.parent)


def check_pages(app: Sphinx, error: Exception | None) -> None:
    """A page that needs the network ends the build."""
    if error is None:
        offline.check(Path(app.outdir))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    write_pages()
    formulas.register(app)
    app.connect("source-read", read_page)
    app.connect("build-finished", check_pages)
