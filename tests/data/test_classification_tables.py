import gzip

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError
from tests.data.file_writers import SHUTTLE_NAMES, shuttle_lines, write_mushroom, write_shuttle


def test_mushrooms_are_one_hot_in_every_attribute(all_files):
    train, test = ng.load_data("mushroom", 70, 50, root=all_files)
    # Attribute j has j + 1 values, the last attribute the one value "?".
    sizes = [*range(1, 22), 1]
    x = torch.cat([train.x, test.x])
    assert x.shape == (120, sum(sizes))
    for block in x.split(sizes, dim=1):
        assert torch.equal(block.sum(dim=1), torch.ones(120))
    # Even examples are edible; their second attribute is its first value.
    y = torch.cat([train.y, test.y])
    assert torch.equal(y, x[:, 1:3])
    assert y.sum(dim=0).tolist() == [60, 60]


def test_shuttle_features_and_classes_are_those_of_the_rows(all_files):
    for part, seed, n in zip(
        ng.load_data("shuttle", 50, 70, scaling="none", root=all_files), (0, 1), (50, 70), strict=True
    ):
        known = {}
        for line in shuttle_lines(70, seed):
            *features, label = line.split(",")
            known[tuple(map(float, features))] = SHUTTLE_NAMES.index(label)
        rows = [tuple(row) for row in part.x.tolist()]
        assert len(set(rows)) == n
        assert [known[row] for row in rows] == part.y.argmax(dim=1).tolist()


def test_long_names_and_numbers_mean_the_same_classes(tmp_path):
    long = ("Radiator Flow", "Flow Proportioning Valve Close", "Flow Proportioning Valve Open", "High", "Bypass")
    long += ("Bipropellant Valve Close", "Bipropellant Valve Open")
    found = []
    for form, names in (("short", SHUTTLE_NAMES), ("long", long), ("numbers", "1234567")):
        separator = " " if form == "numbers" else ","
        lines = [separator.join([*map(str, range(i, i + 9)), name]) for i, name in enumerate(names)]
        write_shuttle(tmp_path / form / "bandits", lines)
        found.append(ng.load_data("shuttle", 7, 7, root=tmp_path / form)[0])
    assert torch.equal(found[0].y.sum(dim=0), torch.ones(7))
    for other in found[1:]:
        assert torch.equal(other.x, found[0].x)
        assert torch.equal(other.y, found[0].y)


def test_shuttle_is_standardized_by_the_training_rows(all_files):
    train, _ = ng.load_data("shuttle", 60, 10, root=all_files)
    torch.testing.assert_close(train.x.mean(dim=0), torch.zeros(9), rtol=0, atol=1e-5)
    torch.testing.assert_close(train.x.std(dim=0, correction=0), torch.ones(9))


@pytest.mark.parametrize(
    ("name", "sizes", "options", "words"),
    [
        ("shuttle", (71, 10), {}, r"n_train=71, but .*shuttle.trn.gz has 70 rows; ask for fewer"),
        ("shuttle", (10, 71), {}, r"n_test=71, but .*shuttle.tst.gz"),
        ("mushroom", (100, 21), {}, r"has 120; ask for fewer"),
        ("mushroom", (10, 10), {"targets": "loud"}, r"unknown targets"),
        ("shuttle", (10, 10), {"scaling": "loud"}, r"unknown scaling"),
    ],
)
def test_what_cannot_be_had_is_named(all_files, name, sizes, options, words):
    with pytest.raises(DataError, match=words):
        ng.load_data(name, *sizes, root=all_files, **options)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1,2,3,4,5,6,7,8,9,Sideways", r"line 2: unknown class 'Sideways'"),
        ("1,2,3,4,5,6,7,8,High", r"line 2 has 8 features, not 9"),
        ("1,2,3,4,5,6,7,8,x,High", r"line 2: invalid literal"),
        ("", r"line 2: "),
        ("1 2 3 4 5 6 7 8 9 8", r"line 2: unknown class '8'"),
    ],
)
def test_damaged_shuttle_rows_are_named(tmp_path, line, words):
    write_shuttle(tmp_path / "bandits", [shuttle_lines(1)[0], line, shuttle_lines(1)[0]])
    with pytest.raises(DataError, match=rf"shuttle.trn.gz is damaged.*{words}"):
        ng.load_data("shuttle", 1, 1, root=tmp_path)


@pytest.mark.parametrize("line", ["x" + ",a" * 22, "e" + ",a" * 21])
def test_damaged_mushroom_rows_are_named(tmp_path, line):
    write_mushroom(tmp_path / "bandits", n=1)
    path = tmp_path / "bandits/mushroom.data.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + line.encode()))
    with pytest.raises(DataError, match=r"mushroom.data.gz is damaged.*line 2 is no"):
        ng.load_data("mushroom", 1, 1, root=tmp_path)


def test_draws_keep_the_frequencies_of_the_classes(tmp_path):
    """95 of 100 rows are of one class: a balanced draw of 20 would have 15 of it."""
    lines = [",".join([*map(str, np.arange(9) + i), "High" if i < 5 else "Bypass"]) for i in range(100)]
    write_shuttle(tmp_path / "bandits", lines)
    train, _ = ng.load_data("shuttle", 20, 10, root=tmp_path)
    assert train.y.sum(dim=0)[4] > 15
