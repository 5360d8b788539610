"""The architecture, read off the code: its packages, how large they are, and which imports which."""

import ast
import html
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "ntkgap"
BOX, GAP, STEP = (150, 46), 24, 92
LARGE = ("kernels", "practice", "studies")  # whose packages the page lists, too


def layers() -> list[list[str]]:
    """Packages from the top to the bottom as import-linter holds them, and ``sweep``, which has rules of its own.

    Modules are left out: those at the top name again what is below, and ``errors`` is imported everywhere.
    """
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    found = [
        [name.strip().removeprefix("ntkgap.") for name in layer.split("|")]
        for layer in contracts["contracts"][0]["layers"]
    ]
    found = [[name for name in layer if (SOURCE / name).is_dir()] for layer in found]
    below = next(i for i, layer in enumerate(found) if "studies" in layer) + 1
    found[below].insert(1, "sweep")  # between theory and practice, which do not meet
    return [layer for layer in found if layer]


def files(package: str) -> list[Path]:
    """The source files of a package."""
    return sorted(SOURCE.joinpath(*package.split(".")).rglob("*.py"))


def lines(package: str) -> int:
    """Number of lines in them."""
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files(package))


def summary(package: str) -> str:
    """The first line of what a package says of itself."""
    file = SOURCE.joinpath(*package.split("."), "__init__.py")
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]


@cache
def imports(package: str) -> Counter[str]:
    """How many import statements of a package name each other one of ``layers``."""
    known = {name for layer in layers() for name in layer}
    found: Counter[str] = Counter()
    for file in files(package):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("ntkgap"):
                continue
            named = (node.module or "").split(".")[1:2] or [alias.name for alias in node.names]
            found.update({name for name in named if name in known and name != package})
    return found


def arrows() -> list[tuple[str, str]]:
    """Imports between packages, without those that others imply: down to what is imported by what one imports."""
    packages = [name for layer in layers() for name in layer]
    reached: dict[str, set[str]] = {}
    for name in reversed(packages):  # from the bottom up, so that what is below is known
        reached[name] = set(imports(name)).union(*(reached.get(other, set()) for other in imports(name)))
    return [
        (name, other)
        for name in packages
        for other in imports(name)
        if not any(other in reached[third] for third in imports(name) if third != other)
    ]


def picture() -> str:
    """The packages from the top down as an SVG; an arrow is an import."""
    rows = layers()
    width = (max(len(row) for row in rows) + 1) * (BOX[0] + GAP)
    height = len(rows) * STEP + GAP - (STEP - BOX[1])
    place: dict[str, tuple[float, int]] = {}  # the middle of the upper edge
    for i, row in enumerate(rows):
        above = [place[name][0] for name in place for other in row if (name, other) in arrows() and i > 0]
        middle = sum(above) / len(above) if len(row) == 1 and above else width / 2
        for j, name in enumerate(row):
            place[name] = (middle + (j - (len(row) - 1) / 2) * (BOX[0] + GAP), GAP // 2 + i * STEP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        'font-family="sans-serif" font-size="13" text-anchor="middle">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#777"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for name, other in arrows():
        (x1, y1), (x2, y2) = place[name], place[other]
        line = f"M{x1:g} {y1 + BOX[1]}L{x2:g} {y2}"
        if y2 - y1 > STEP:  # around the boxes between
            side = -1 if x1 < width / 2 else 1
            x1, x2, y1, y2 = x1 + side * BOX[0] / 2, x2 + side * BOX[0] / 2, y1 + BOX[1] // 2, y2 + BOX[1] // 2
            out = side * 70 + (max(x1, x2) if side > 0 else min(x1, x2))
            line = f"M{x1:g} {y1}C{out:g} {y1} {out:g} {y2} {x2:g} {y2}"
        parts.append(
            f'<path d="{line}" stroke="#777" fill="none" marker-end="url(#tip)">'
            f"<title>{name} imports {other}</title></path>"
        )
    for name, (x, y) in place.items():
        parts.append(
            f'<rect x="{x - BOX[0] / 2:g}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="5" fill="#eef3f8" '
            f'stroke="#4a6785"><title>{html.escape(summary(name))}</title></rect>'
            f'<text x="{x:g}" y="{y + 19}" font-weight="bold">{name}</text>'
            f'<text x="{x:g}" y="{y + 36}" fill="#444">{len(files(name))} files, {lines(name)} lines</text>'
        )
    return "\n".join([*parts, "</svg>\n"])


def escaped(package: str) -> str:
    """Its summary as a cell of a table."""
    return summary(package).replace("|", "\\|")


def page() -> str:
    """The picture with what every package does, and the packages inside of the large ones."""
    rows = []
    for name in (name for layer in layers() for name in layer):
        rows.append(name)
        if name in LARGE:
            rows += [f"{name}.{file.parent.name}" for file in sorted((SOURCE / name).glob("*/__init__.py"))]
    table = "\n".join(f"| `{name}` | {escaped(name)} | {len(files(name))} | {lines(name)} |" for name in rows)
    return (
        "# How the code is built\n\nThe packages of `ntkgap`, drawn from the code when this site was built. An "
        "arrow is an import; what other arrows imply is left out. Imports run downward only, and `theory` and "
        "`practice` never import each other: import-linter holds that.\n\n"
        "![Packages and their imports](architecture.svg)\n\n"
        f"| | what it does | files | lines |\n|---|---|---|---|\n{table}\n"
    )
