"""Reading YAML as presets need it: plain values alone, bounded before they are built, and no surprises in numbers.

YAML 1.1 takes ``1:30`` for 90, ``010`` for 8, ``1e-3`` for a text and ``2024-01-01`` for a date, silently forgets
the first of two values of one key, and lets a few lines stand for gigabytes. Here numbers are decimal ones, other
scalars are texts, a key stands once, and what aliases stand for is counted first.
"""

import re
from typing import Any

import yaml

from ntkgap.errors import StudyError

MAX_CHARACTERS, MAX_VALUES, MAX_DEPTH = 200_000, 20_000, 30


def read_yaml(text: str) -> Any:
    """The value that a text describes: mappings, lists, texts, numbers, true, false and null.

    Raises:
        StudyError: in one line: where the text is no such YAML, or how it is too large.
    """
    if len(text) > MAX_CHARACTERS:
        raise StudyError(f"it has more than {MAX_CHARACTERS} characters, which no preset needs")
    try:
        _check_extent(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise StudyError(_in_a_line(error)) from error
    except (ValueError, OverflowError) as error:
        raise StudyError(f"it has a number that is none: {error}") from error


def _check_extent(text: str) -> None:
    """Follow the text without building anything; an alias counts for all that it stands for.

    Raises:
        StudyError: if there are too many values, too deep, or in a circle.
        yaml.YAMLError: if the text is no YAML.
    """
    sizes: dict[str, int] = {}
    totals, open_anchors = [0], [""]
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in open_anchors:
                raise StudyError(f"line {line}: *{event.anchor} stands for something that holds itself")
            totals[-1] += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            totals[-1] += 1
            sizes |= {event.anchor: 1} if event.anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            totals.append(1)
            open_anchors.append(event.anchor or "")
            if len(totals) > MAX_DEPTH:
                raise StudyError(f"line {line}: there is something inside something more than {MAX_DEPTH} times")
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = totals.pop(), open_anchors.pop()
            totals[-1] += size
            sizes |= {anchor: size} if anchor else {}
        if totals[-1] > MAX_VALUES:
            raise StudyError(f"line {line}: it stands for more than {MAX_VALUES} values, which no preset needs")


class _Loader(yaml.SafeLoader):
    """Builds plain values; what is no number as written here is text."""

    # The class's own, so that nothing changes for others who use yaml.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":int", ":float"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.endswith((":null", ":bool", ":str", ":seq", ":map"))
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A dictionary whose keys are texts, each of which stands once."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            problem = "" if isinstance(key, yaml.ScalarNode) else "a key is no text"
            if not problem and key.value in seen:
                problem = f"the key {key.value[:40]!r} stands there twice"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(node.value)


INT, FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_Loader.add_implicit_resolver(INT, re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    FLOAT, re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$"), list("-+.0123456789")
)
_Loader.add_constructor(INT, _whole)
_Loader.add_constructor(FLOAT, _decimal)


def _in_a_line(error: yaml.YAMLError) -> str:
    """What is wrong and in which line."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    found = " ".join(str(problem or error).split())[:200]
    return f"line {mark.line + 1}: {found}" if mark else found
