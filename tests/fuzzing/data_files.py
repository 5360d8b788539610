"""Files of data with changes."""

import gzip
import io
import pickle
import shutil
import warnings
import zipfile
from random import Random
from typing import Any

import numpy as np

import ntkgap as ng
from ntkgap.data.images import _read_once
from tests.data import file_writers as writers
from tests.fuzzing.attempts import Sandbox, attempt
from tests.fuzzing.mutations import mutated_bytes


def _archive(random: Random) -> bytes:
    dtype = random.choice(["<f8", ">f8", "<f4", "<i8", "|b1", "<U3", "<c16", "<f2", "<M8[s]", "g", "|S4"])
    shape = random.choice([(8, 3), (8,), (0, 3), (8, 1, 2, 2), (), (8, 0), (3, 8)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    y = random.choice([np.arange(8) % 2, np.arange(8.0), np.zeros(8, int), np.array(["a", "b"] * 4), np.zeros(0)])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", random.choice([0, 8, 12, 14])) as archive:
        for name, array in (("x", x), ("y", y)):
            part = io.BytesIO()
            np.save(part, array)
            content = part.getvalue()
            if random.random() < 0.4:
                content = mutated_bytes(random, content[:130]) + content[130:]
            archive.writestr(f"{name}.npy", content)
    content = file.getvalue()
    return mutated_bytes(random, content) if random.random() < 0.6 else content


def _table(random: Random) -> bytes:
    separator = random.choice([",", ";", "\t", "|", " "])
    rows = [["a", "b", "y"]] + [[str(random.gauss(0, 1)), str(i), str(i % 2)] for i in range(8)]
    for _ in range(random.randint(0, 4)):
        row = random.choice(rows)
        match random.randrange(4):
            case 0:
                row.append("1")
            case 1 if row:
                row.pop()
            case _ if row:
                cells = ["", "x", "nan", "inf", "1e999", '"', "1,5", "9" * 400, "2024-01-01", "é", "\x00", "1j"]
                row[random.randrange(len(row))] = random.choice(cells)
            case _:
                rows.clear()
                rows.append(["a"])
    text = "\n".join(separator.join(row) for row in rows)
    content = text.encode(random.choice(["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-32"]), "replace")
    return mutated_bytes(random, content) if random.random() < 0.3 else content


def _cifar(random: Random) -> bytes:
    rows = np.arange(3 * 3072, dtype=np.uint8).reshape(3, 3072)
    batch = {"data": rows, "labels": [0, 1, 2]}
    content = random.choice(
        [writers.python2_batch(rows, [0, 1, 2]), *(pickle.dumps(batch, protocol=p) for p in range(6))]
    )
    head, tail = content[:150], content[150:]
    return mutated_bytes(random, head) + tail if random.random() < 0.5 else mutated_bytes(random, content)


def fuzz_data(random: Random, box: Sandbox) -> str:
    """A file of data with changes; it is loaded."""
    kind = random.choice(["npz", "npz", "csv", "csv", "idx", "cifar", "uci", "shuttle", "mushroom"])
    folder = box.path / "scratch/data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    options: dict[str, Any] = {"root": str(folder)}
    if kind in ("npz", "csv"):
        file = folder / f"f.{kind}"
        file.write_bytes(_archive(random) if kind == "npz" else _table(random))
        options = {"target": "y"} if kind == "csv" else {}
        options |= random.choice([{}, {"scaling": "none"}, {"scaling": "unit_norm"}])
        name = str(file) + (random.choice(["", ":x,y", ":y,x", ":a,b"]) if kind == "npz" else "")
    elif kind == "cifar":
        (folder / "cifar-10-batches-py").mkdir()
        for batch in writers.BATCHES:
            (folder / "cifar-10-batches-py" / batch).write_bytes(_cifar(random))
        name = "cifar10"
    else:
        name = {"idx": "mnist", "uci": "uci/bostonHousing", "shuttle": "shuttle", "mushroom": "mushroom"}[kind]
        if kind == "idx":
            writers.write_mnist(folder / "mnist", 12, 12)
        elif kind == "uci":
            writers.write_table(folder, name)
        elif kind == "shuttle":
            writers.write_shuttle(folder / "bandits")
        else:
            writers.write_mushroom(folder / "bandits")
        for file in folder.rglob("*"):
            if file.is_file() and random.random() < 0.5:
                content = file.read_bytes()
                if file.suffix == ".gz" and random.random() < 0.7:
                    content = gzip.compress(mutated_bytes(random, gzip.decompress(content)), 1)
                else:
                    content = mutated_bytes(random, content)
                file.write_bytes(content)
    sizes = (random.choice([1, 2, 3, 10]), random.choice([1, 2]))
    _read_once.cache_clear()
    return attempt(lambda: ng.load_data(name, *sizes, seed=0, **options), box)
