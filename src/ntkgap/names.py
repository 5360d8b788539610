"""What is said of a name that ``ntkgap`` does not have: where it is, where it went, or which one is near."""

import difflib
import importlib
from collections.abc import Sequence

# Public names that a release had: renamed ones go on working and warn, removed ones say what to use.
RENAMED: dict[str, str] = {}
REMOVED: dict[str, str] = {}


def unknown(name: str, public: Sequence[str], packages: Sequence[str]) -> str:
    """The sentence for a name that is not public.

    Args:
        name: what was asked for.
        public: the names that there are.
        packages: below ``ntkgap``, whose public names are looked through too.
    """
    sentence = f"module 'ntkgap' has no attribute {name!r}"
    if name in REMOVED:
        return f"{sentence}: it was removed; {REMOVED[name]}"
    if name.startswith("_"):  # Python, test runners and notebooks ask for these: answer at once
        return sentence
    places = dict.fromkeys(public, "ng")
    for package in packages:
        module = importlib.import_module(f"ntkgap.{package}")
        places = dict.fromkeys(getattr(module, "__all__", ()), module.__name__) | places
    if name in places:
        return f"{sentence}; from {places[name]} import {name}"
    lower = {known.lower(): known for known in places}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.7)]
    if not near:
        return f"{sentence}; dir(ntkgap) lists the public names"
    return f"{sentence}; did you mean {' or '.join(f'{places[known]}.{known}' for known in near)}?"
