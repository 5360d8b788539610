"""Finds words that are not the field's in the tracked text: ``python tests/words.py``, run by ``make lint``.

CONTRIBUTING.md has the list for people. What is stored keeps its name and is an exception here.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEARCHED = ("src", "docs", "tests", "examples", "benchmarks", "README.md", "Makefile", "pyproject.toml")
SUFFIXES = {".py", ".md", ".yaml", ".toml", ".j2", ".js", ".ipynb", ""}
# A longer line is a picture in a notebook.
LONGEST = 1000
# This list, what earlier versions called things, and what was published before.
SKIPPED = re.compile(
    r"tests/(test_)?words\.py|src/ntkgap/studies/claim_keys\.py|.*\.min\.js|docs/results/.*preset\.yaml|.*/LICENSE.*"
)

WORDS = {
    r"foret(ell|old)\w*": "predict",
    r"twins?": "linearized model",
    r"stay(s|ed)? put": "nearly constant",
    r"undecid(ed|edness|able)": "inconclusive",
    r"dearest": "most expensive",
    r"born?e out": "confirmed",
    r"rac(e|es|ed|ing)|contestants?": "optimizer comparison",
    r"prove[sd]?|proofs?": "checked against autograd",
    r"stopping[ _]times?": "training budget",
    r"players?": "policy",
    r"luck|fortune": "chance, random stream, outcome",
    r"wings?|storeys?|floors of": "layers, packages",
    r"in parts of|as a part of": "as a fraction of",
    r"whither|whence|hence|thereof": "so",
    r"(\w*?)(parametr|linear|optim|normal|initial|random|standard|maxim|minim|general|factor|vector|quant|regular|"
    r"serial|orthogonal|recogn|penal|kernel)is(e|ed|es|er|ers|ing|ation|ations|able)": "-ize",
    r"\w*(colour|behaviour|favour|neighbour)\w*": "-or",
    r"(un)?centred?|grey|labelled|towards|licences?|learnt": "American spelling",
}
WORD = re.compile(f"(?<![a-z])(?:{'|'.join(WORDS)})(?![a-z])", re.IGNORECASE)

# Names in stores and published files, titles of papers, and old names that go on working.
STORED = (
    r"(seconds_)?race_[\w{}]*",
    r"\brace\.\w+",
    r"(gap|forgetting)_twin|tasks_twin\w*|twin_test\w*|predictions\[\"twin\"\]|\"twin\"",
    r"\"race\"|``race``|race\\\.step:",
    r"gradient descent at a part of the critical rate",
    r"On the proof of global convergence",
    r"linearised_(decay|twin)",
    r"undecidable of a Claim|``undecidable=``|\"undecidable\"|undecidable=|def undecidable|made\.undecidable",
    r"\"undecided\"|called undecided",
)
EXCEPTION = re.compile("|".join(STORED))


def words_in(line: str) -> list[str]:
    """The words of a line that should be others."""
    return [found[0] for found in WORD.finditer(EXCEPTION.sub(" ", line))]


def files() -> list[Path]:
    """The tracked text files that are searched."""
    named = subprocess.run(
        ["git", "ls-files", *SEARCHED], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    paths = [ROOT / name for name in named if not SKIPPED.fullmatch(name)]
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file()]


def faults() -> Iterator[str]:
    """Every place, in words."""
    for path in files():
        text = path.read_text(encoding="utf-8")
        if not WORD.search(text):  # of most files, without a look at every line
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > LONGEST:
                continue
            for word in words_in(line):
                yield f"{path.relative_to(ROOT)}:{number}: {word!r}; CONTRIBUTING.md says which word to use"


if __name__ == "__main__":
    found = list(faults())
    print("\n".join(found) if found else "all words are those of the field")
    sys.exit(bool(found))
