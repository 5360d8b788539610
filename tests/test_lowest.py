"""constraints-lowest.txt, with which ``make lowest`` tests the core, has the bounds of pyproject.toml."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def versions(lines, operator):
    """The version of each requirement, which has this operator and no other."""
    found = {}
    for requirement in map(Requirement, lines):
        (bound,) = requirement.specifier
        assert bound.operator == operator, requirement
        found[canonicalize_name(requirement.name)] = Version(bound.version)
    return found


def test_the_lowest_versions_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = versions(project["dependencies"] + project["optional-dependencies"]["dask"], ">=")
    text = (ROOT / "constraints-lowest.txt").read_text()
    pins = versions([line for line in text.splitlines() if not line.startswith("#")], "==")
    assert pins == bounds
