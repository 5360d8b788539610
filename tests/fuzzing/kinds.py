"""Presets, command lines and stores with changes, and the kinds of all inputs by name."""

import contextlib
import json
from collections.abc import Callable
from random import Random

import yaml

import ntkgap as ng
from ntkgap.studies import STUDIES, assess
from tests.fuzzing.attempts import PRESETS, Sandbox, attempt, command
from tests.fuzzing.data_files import fuzz_data
from tests.fuzzing.mutations import mutated_bytes, mutated_text, mutated_tree


def fuzz_preset(random: Random, box: Sandbox) -> str:
    """A preset with changes; its cells are planned."""
    name = random.choice(list(PRESETS))
    if random.random() < 0.4:
        text = mutated_text(random, PRESETS[name])
    else:
        tree = yaml.safe_load(PRESETS[name])
        for _ in range(random.randint(1, 3)):
            tree = mutated_tree(random, tree)
        text = json.dumps(tree) if random.random() < 0.3 else yaml.safe_dump(tree, sort_keys=False)
    file = box.path / "scratch/p.yaml"
    file.write_bytes(text.encode("utf-8", "replace"))
    return attempt(lambda: STUDIES[name].preset(str(file)).cells(), box)


OPTIONS = ("--preset", "--data", "--width", "--seed", "--problem", "--store", "--workers", "--out", "--nonsense")

WORDS = (
    *(
        "smoke",
        "quick",
        "optimization.yaml",
        "continual.yaml",
        "scratch/p.yaml",
        "digits",
        "sphere",
        "mnist",
        "toy",
    ),
    *("mine.npz", "mine.npz:x,y", "mine.npz:images,labels", "mine.npz:a", "mine.csv", "~/mine.npz", "missing.npz"),
    *("4", "4,8", "0:2", "5:1", "0:1000000000000", "0", "-1", "1e3", "9" * 40, "9" * 5000, "4:", ",", "٣"),
    *(
        "[/red]",
        "[bold]",
        "[",
        ":smile:",
        "",
        " ",
        "~",
        "~/real",
        "real",
        "~nobody",
        "x" * 300,
        "x" * 5000,
        "a\nb",
    ),
    *(
        "shallow",
        "MLP",
        "--",
        "-",
        "-h",
        "--help",
        "=",
        "\ud800",
        "%s",
        "{}",
        "$HOME",
        "optimization",
        "continual",
    ),
)


def fuzz_command(random: Random, box: Sandbox) -> str:
    """A command line, with nothing to compute."""
    fuzz_preset(random, box) if random.random() < 0.2 else None
    box.restore("real")
    name = random.choice(["run", "run", "run", "report", "status", "presets", random.choice(WORDS)])
    arguments = [name]
    if name == "run":
        arguments += random.choice([[], [], [random.choice(list(STUDIES))], [random.choice(WORDS)]])
        arguments += ["--preset", "smoke", "--dry-run"] if random.random() < 0.7 else ["--dry-run"]
    if name == "report":
        arguments += [random.choice(["real", "toy"]), "--out", "scratch/report.html"]
    for _ in range(random.randint(0, 3)):
        option, word = random.choice(OPTIONS), random.choice(WORDS)
        if name == "report" and option == "--out":
            continue  # that may write anywhere
        arguments += random.choice([[option, word], [f"{option}={word}"], [word], [option]])
    return attempt(lambda: command(arguments), box)


def fuzz_store(random: Random, box: Sandbox) -> str:
    """A store with changed files; it is read, shown, and planned again."""
    which = random.choice(["toy", "toy", "real"])
    store = box.restore(which)
    files = sorted(path for path in store.rglob("*") if path.is_file())
    for _ in range(random.randint(1, 2)):
        file = random.choice(files)
        content = file.read_bytes()
        if file.suffix == ".json" and content and random.random() < 0.7:
            with contextlib.suppress(ValueError, RecursionError):
                content = json.dumps(mutated_tree(random, json.loads(content))).encode()
        else:
            content = random.choice([b"", b"[" * 9000, mutated_bytes(random, content), b"null", b"\xff"])
        file.write_bytes(content)

    def read() -> None:
        runs = ng.Runs(store)
        runs.counts(), runs.failures(), runs.to_pandas(), runs.curves("line")
        if which == "real":
            assess(runs)
            command(["status", str(store)])
            if random.random() < 0.01:
                command(["report", str(store), "--out", str(box.path / "scratch/report.html")])

    return attempt(read, box)


KINDS: dict[str, Callable[[Random, Sandbox], str]] = {
    "presets": fuzz_preset,
    "command lines": fuzz_command,
    "data files": fuzz_data,
    "stores": fuzz_store,
}
