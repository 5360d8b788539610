import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError
from tests.data.file_writers import table_values, write_table
from tests.tolerances import SINGLE

BOSTON = "uci/bostonHousing"


@pytest.mark.parametrize("split", [0, 19])
def test_splits_are_those_of_the_published_procedure(all_files, split):
    """Twenty times ``choice`` without replacement from a generator seeded once with 1; the first 90 % train."""
    values = table_values(BOSTON)
    generator = np.random.RandomState(1)
    orders = [generator.choice(range(506), 506, replace=False) for _ in range(20)]
    train, test = ng.load_data(BOSTON, seed=split, scaling="none", targets="none", root=all_files)
    for part, rows in ((train, orders[split][:455]), (test, orders[split][455:])):
        np.testing.assert_array_equal(part.x.numpy(), values[rows, :-1].astype(np.float32))
        np.testing.assert_array_equal(part.y.numpy(), values[rows, -1:].astype(np.float32))
        assert part.n_classes is None


def test_inputs_and_targets_are_standardized_by_the_training_split(all_files):
    train, test = ng.load_data(BOSTON, seed=3, root=all_files)
    raw_train, raw_test = ng.load_data(BOSTON, seed=3, scaling="none", targets="none", root=all_files)
    for name in ("x", "y"):
        known = getattr(raw_train, name).double()
        mean, deviation = known.mean(dim=0), known.std(dim=0, correction=0)
        expected = ((getattr(raw_test, name).double() - mean) / deviation).float()
        torch.testing.assert_close(getattr(test, name), expected, rtol=SINGLE, atol=SINGLE)
        assert getattr(train, name).mean(dim=0).abs().max() < SINGLE


def test_fewer_examples_are_the_first_of_the_split(all_files):
    everything = ng.load_data(BOSTON, seed=1, scaling="none", targets="none", root=all_files)
    few = ng.load_data(BOSTON, 30, 20, seed=1, scaling="none", targets="none", root=all_files)
    for all_of_it, part, n in zip(everything, few, (30, 20), strict=True):
        assert torch.equal(part.x, all_of_it.x[:n])


def test_the_published_folders_are_found_too(tmp_path):
    write_table(tmp_path, BOSTON)
    (tmp_path / "UCI_Datasets/bostonHousing").mkdir(parents=True)
    (tmp_path / BOSTON).rename(tmp_path / "UCI_Datasets/bostonHousing/data")
    assert ng.load_data(BOSTON, root=tmp_path)[0].x.shape == (455, 13)


@pytest.mark.parametrize(
    ("name", "sizes", "options", "words"),
    [
        (BOSTON, (10, 10, 20), {}, r"has 20 splits; seed must be .*0 to 19, got 20"),
        (BOSTON, (456, 10), {}, r"455 for training and 51 for testing; ask for fewer"),
        (BOSTON, (10, 52), {}, r"n_test=52 ask for more than a split"),
        (BOSTON, (0, 1), {}, r"n_train must be an integer of at least 1"),
        (BOSTON, (10, 10), {"targets": "one_hot"}, r"unknown targets 'one_hot'.*choose 'standardize' or 'none'"),
        (BOSTON, (10, 10), {"scaling": "loud"}, r"unknown scaling"),
        (
            "uci/boston",
            (),
            {},
            r"unknown data 'uci/boston'; choose one of .*uci/bostonHousing, uci/concrete, uci/kin",
        ),
    ],
)
def test_what_cannot_be_had_is_named(all_files, name, sizes, options, words):
    with pytest.raises(DataError, match=words):
        ng.load_data(name, *sizes, root=all_files, **options)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda lines: lines[:400], r"\(400, 14\) rows and columns, but 'uci/bostonHousing' has \(506, 14\)"),
        (lambda lines: [line.rsplit(maxsplit=1)[0] for line in lines], r"\(506, 13\)"),
        (lambda lines: [*lines[:-1], lines[-1][:30]], r"columns changed from 14 to"),
        (lambda lines: ["nan " + lines[0].split(maxsplit=1)[1], *lines[1:]], r"row 0 holds no finite number"),
        (lambda lines: ["high " + lines[0].split(maxsplit=1)[1], *lines[1:]], r"could not convert string 'high'"),
        (lambda lines: ["é"], r"it is no plain text"),
    ],
)
def test_damaged_tables_are_named(tmp_path, damage, words):
    write_table(tmp_path, BOSTON)
    path = tmp_path / BOSTON / "data.txt"
    path.write_text("\n".join(damage(path.read_text().splitlines())), encoding="utf-8")
    with pytest.raises(DataError, match=rf"data.txt is damaged.*{words}"):
        ng.load_data(BOSTON, root=tmp_path)


def test_a_constant_column_becomes_exactly_zero():
    """0.1 has no exact float: mean and deviation of a hundred of them are rounding errors away from 0.1 and 0."""
    from ntkgap.data.dataset import scale_inputs

    constant = torch.full((100, 1), 0.1)
    assert constant.std(correction=0) > 0
    train, test = scale_inputs(constant, torch.tensor([[0.1], [1.1]]), "standardize")
    assert torch.equal(train, torch.zeros(100, 1))
    assert torch.equal(test, torch.tensor([[0.0], [1.0]]))
