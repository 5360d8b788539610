"""Finds numbers that a template says by itself instead of taking them from the published files.

A numeral may stand in an address (``median("c_prime", MLP, 2048)`` raises where nothing was measured there), in a
guard (``require``), in code, links, headings and years, and in the phrases of ``names_with_numerals.yaml``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import jinja2
import yaml
from build import HERE, OF_PAGE, OF_RESULTS, TEMPLATE, pages
from jinja2 import nodes

NUMERAL = re.compile(r"\d[\d.,]*|[½¼¾]")
NOT_PROSE = re.compile(
    r"```.*?```|`[^`\n]*`|\]\([^)]*\)|^#.*?$|arXiv \d{4}\.\d{5}|\b(?:19|20)\d\d\b", re.DOTALL | re.MULTILINE
)
# Calls whose arguments are addresses: they print what is found there, or raise.
ADDRESSED = {*OF_PAGE, *OF_RESULTS, "query"}
# What a number may be multiplied, divided or lessened by: per cent, reciprocals, excesses.
UNITS = (1, 2, 100)
ARITHMETIC = (nodes.Mul, nodes.Div, nodes.Add, nodes.Sub, nodes.Pow)


def allowed() -> list[str]:
    """Phrases with numerals that are no results."""
    return list(yaml.safe_load((HERE / "names_with_numerals.yaml").read_text(encoding="utf-8")))


def bare_numerals(template: str) -> list[str]:
    """Every number that a template has by itself, with its line."""
    tree = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.do"]).parse(template)
    return [f"line {line}: {found}" for line, found in sorted({*_in_text(tree), *_in_expressions(tree)})]


def _in_text(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """Numerals of the prose."""
    text, lines = "", []
    for data in tree.find_all(nodes.TemplateData):
        lines += [data.lineno + data.data.count("\n", 0, i) for i in range(len(data.data))] + [data.lineno]
        text += data.data + "\0"
    text = _without_names(text)
    for found in NUMERAL.finditer(text):
        words = text[max(0, found.start() - 25) : found.end() + 15].replace("\n", " ").replace("\0", "…")
        yield lines[found.start()], f"{found[0]!r} in {words.strip()!r}"


def _without_names(text: str) -> str:
    phrases = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in allowed())
    for pattern in (NOT_PROSE, re.compile(phrases or "(?!)")):
        text = pattern.sub(lambda found: " " * len(found[0]), text)
    return text


def _in_expressions(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """Constants that an expression would print; those of guards are not printed."""
    printing = [*tree.find_all(nodes.Output), *tree.find_all((nodes.Assign, nodes.CallBlock))]
    for node in printing:
        expressions = node.nodes if isinstance(node, nodes.Output) else [node.node]
        for expression in expressions:
            yield from _constants(expression)
    for loop in tree.find_all(nodes.For):
        yield from _constants(loop.iter)


def _constants(node: nodes.Node) -> Iterator[tuple[int, str]]:
    match node:
        case nodes.Const(value=value):
            if NUMERAL.search(_without_names(str(value))):
                yield node.lineno, f"{value!r} in an expression"
        case nodes.Call(node=nodes.Name(name=name) | nodes.Getattr(attr=name)) if name in ADDRESSED:
            yield from _constants(node.node)
        case nodes.Filter():
            yield from _constants(node.node)  # its arguments are numbers of digits
        case nodes.Getitem():
            yield from _constants(node.node)  # so are places in a list
        case nodes.TemplateData() | nodes.Compare():  # a comparison prints no number of its own
            return
        case _ if isinstance(node, ARITHMETIC):
            for child in node.iter_child_nodes():
                if not (isinstance(child, nodes.Const) and child.value in UNITS):
                    yield from _constants(child)
        case nodes.Neg(node=nodes.Const(value=value)) if value in UNITS:
            return
        case nodes.CondExpr():  # what is asked is not printed
            for child in (node.expr1, node.expr2):
                if child is not None:
                    yield from _constants(child)
        case _:
            for child in node.iter_child_nodes():
                yield from _constants(child)


def faults(folder: Path) -> list[str]:
    """The bare numerals of a page."""
    return [
        f"{folder.name}/{TEMPLATE}, {found}"
        for found in bare_numerals((folder / TEMPLATE).read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    raise SystemExit("\n".join(fault for folder in pages() for fault in faults(folder)))
