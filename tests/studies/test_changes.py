"""Presets with a user's own network and data in place of theirs; each mistake is one line."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ntkgap as ng

Y = np.arange(60) % 3
X = np.random.default_rng(0).normal(size=(60, 5)) + Y[:, None]
PRESET = ng.OptimizationStudy.preset


def build(width, in_features, n_outputs, depth=1):
    layers = [nn.Flatten(), nn.Linear(in_features, width), nn.ReLU()]
    return nn.Sequential(*layers, *[nn.Linear(width, width)] * (depth - 1), nn.Linear(width, n_outputs))


def fixed(in_features, n_outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, 7), nn.ReLU(), nn.Linear(7, n_outputs))


def asked(cls=ng.OptimizationStudy, **changes):
    """Names of problems; nothing may be left out."""
    sizes = {"n_train": 8, "n_test": 8}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return [p.name for p in cls.preset("smoke", **(sizes | changes)).problems]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Data in files of the present folder."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame.assign(y=Y).to_csv("mine.csv", index=False)
    frame.assign(y=Y, e="text").to_csv("text.csv", index=False)
    frame.assign(y=Y, b=[np.nan, *X[1:, 1]]).to_csv("holes.csv", index=False)
    np.savez("mine.npz", images=X, labels=Y)
    np.savez("xy.npz", x=X, y=Y)
    np.savez("other.npz", x=X + 1, y=Y)
    np.savez("narrow.npz", x=X[:, :2], y=Y)
    return tmp_path


FRAME = pd.DataFrame(X, columns=list("abcde")).assign(y=Y)


@pytest.mark.parametrize(
    ("data", "target"),
    [
        ((X, Y), None),
        ((X.tolist(), Y.tolist()), None),
        ((torch.tensor(X, requires_grad=True), torch.tensor(Y)), None),
        ((X, np.array(["a", "b", "c"])[Y]), None),
        ({"x": X, "y": Y}, None),
        (FRAME, "y"),
        (TensorDataset(torch.tensor(X), torch.tensor(Y)), None),
        (DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), 7), None),
        ("mine.npz:images,labels", None),
        ("xy.npz", None),
        ("mine.csv", "y"),
    ],
)
def test_data_of_any_kind_are_the_same_cells(data, target, files):
    study = PRESET("smoke", model=build, data=data, target=target, n_train=8, n_test=8, widths=[3], seeds=1)
    name = study.problems[0].name
    assert name == ("build, given data" if not isinstance(data, str) else f"build, {data.split('.')[0]}")
    train, test = study.problems[0].data.load(seed=0)
    expected, _ = ng.load_data((X, Y), n_train=8, n_test=8, seed=0)
    assert train.x.equal(expected.x)
    assert train.y.equal(expected.y)
    assert len(test.x) == 8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": X}, r"data= takes a name, a file, or inputs with their targets, \(x, y\); got ndarray"),
        ({"data": iter([])}, "got list_iterator"),
        ({"data": (X, Y, Y)}, r"pairs \(x, y\), inputs and targets, got 3 things"),
        ({"data": (X, Y[:5])}, "x has 60 examples but y has 5"),
        ({"data": (X[:0], Y[:0])}, "in which there is no example"),
        ({"data": ([[1, 2], [3]], [0, 1])}, "all examples must have one shape"),
        ({"data": (X, 0 * Y)}, "all 60 labels are the same"),
        ({"data": (np.ones((60, 6, 6, 3)), Y)}, "channels last; put them first"),
        ({"data": FRAME}, "columns a, b, c, d, e, y; say which one holds the targets: target=.*--target"),
        ({"data": FRAME, "target": "z"}, "say which one holds the targets"),
        (
            {"data": "holes.csv", "target": "y"},
            "column 'b' lacks 1 of 60 values .the first in row 0.; drop or impute",
        ),
        ({"data": "text.csv", "target": "y"}, "text.csv: e hold no numbers; leave them out"),
        ({"data": "mine.csv"}, "say which one holds the targets"),
        ({"data": "mine.npz"}, r"has arrays \['images', 'labels'\] but needs \['x', 'y'\] too"),
        ({"data": "mine.npz:a,b"}, "has no array 'a', 'b'; it has images, labels"),
        ({"data": "gone.npz"}, "no data file at .*gone.npz"),
        ({"data": "gone.parquet", "target": "y"}, "no data file at .*gone.parquet"),
        ({"data": "xy.npz,narrow.npz"}, "names 2 files, but the examples of one are asked for"),
        ({"data": "nonsense"}, "unknown data 'nonsense'"),
        ({"target": "y"}, "target= names a column of a frame or of a table; these data have no columns"),
        (
            {"target": "y", "data": None},
            "target= names the column of targets of one's own table; give it with data=",
        ),
        ({"n_train": 100}, "ask for 108 examples, but the data set has 60; ask for fewer"),
        ({"n_train": 0}, "^n_train must be greater than or equal to 1, got 0"),
        ({"n_test": "8"}, "^n_test must be whole numbers, got '8'"),
        ({"widths": [4, 0]}, "^widths must be greater than or equal to 1, got 0"),
        ({"widths": ["4"]}, "widths must be whole numbers"),
        ({"model": fixed}, "fixed takes no width, so that there is one network: leave the widths out"),
        ({"problems": ["zzz"]}, "has no problem like zzz; it has 'shallow"),
    ],
)
def test_mistakes_end_in_one_line(changes, words, files):
    settings = {"model": build, "data": (X, Y), "n_train": 8, "n_test": 8, "widths": [3]}
    with pytest.raises(ng.NtkgapError, match=words) as found:
        PRESET("smoke", **(settings | changes))
    assert len(str(found.value).splitlines()) == 1
    assert len(str(found.value)) < 900


def test_problems_that_are_alike_are_asked_once():
    assert len(ng.OptimizationStudy.preset("smoke").problems) == 2
    assert asked(model=build, data=(X, Y)) == ["build, given data"]
    assert asked(ng.UncertaintyStudy, model=build, data=(X, Y)) == [
        "build, given data",
        "build, classes of given data",
        "given data as a bandit, build",
    ]
    assert asked(model=build, data=(X, Y), problems=["shallow"]) == ["build, given data"]


def test_what_does_not_fit_is_left_out_with_the_reason():
    with pytest.warns(
        ng.errors.StudyWarning, match=r"'shallow.*': the shallow network has one output, .* 3 targets"
    ):
        study = PRESET("smoke", data=(X, Y), n_train=8, n_test=8)
    assert [p.name for p in study.problems] == ["MLP (2 hidden layers), given data"]
    with pytest.warns(ng.errors.StudyWarning, match="a classification bandit needs data with classes"):
        study = ng.UncertaintyStudy.preset("smoke", model=build, data=(X, X[:, :1]), n_train=8, n_test=8)
    assert [p.name for p in study.problems] == ["build, given data"]
    with pytest.warns(ng.errors.StudyWarning, match=r"holds no images \[n, C, H, W\] to rotate"):
        study = ng.ContinualStudy.preset("smoke", model=build, data=(X, Y), n_train=8, n_test=8)
    assert [p.name for p in study.problems] == ["permuted given data, build"]


def test_files_are_tasks_of_a_continual_study(files):
    study = ng.ContinualStudy.preset("smoke", model=build, data="xy.npz,other.npz", n_train=8, n_test=8)
    assert [p.name for p in study.problems] == ["tasks xy, other, build"]
    with pytest.raises(ng.NtkgapError, match=r"xy.npz has inputs of shape \(5,\), narrow.npz of shape \(2,\)"):
        ng.ContinualStudy.preset("smoke", model=build, data="xy.npz,narrow.npz", n_train=8, n_test=8)


def test_the_same_file_elsewhere_is_the_same_cell(files, monkeypatch):
    (files / "my_model.py").write_text(
        "from torch import nn\ndef build(width, in_features, n_outputs): return nn.Linear(in_features, n_outputs)"
    )

    def cells(folder):
        place = {"model": f"{folder}my_model.py:build", "data": f"{folder}xy.npz"}
        found = PRESET("smoke", **place, n_train=8, n_test=8, widths=[3], seeds=1).cells()
        return [{k: v for k, v in c.items() if k != "data"} | {"data": c["data"]["fingerprint"]} for c in found]

    first = cells("")
    (files / "moved").mkdir()
    for name in ("my_model.py", "xy.npz"):
        (files / name).rename(files / "moved" / name)
    assert cells("moved/") == cells("./moved/") == cells(f"{files}/moved/") == first
    monkeypatch.chdir(files / "moved")
    assert cells("") == first


def test_one_network_is_judged_at_its_own_width():
    study = PRESET("smoke", model=fixed, data=(X, Y), n_train=8, n_test=8, seeds=2)
    assert [(c["width"], c["seed"]) for c in study.cells()] == [(7, 0), (7, 1)]
    built = PRESET("smoke", model=fixed(5, 3), data=(X, Y), n_train=8, n_test=8, seeds=1)
    assert [c["width"] for c in built.cells()] == [7]


def test_a_preset_that_names_the_factory_keeps_its_options_and_variations(tmp_path):
    common = {"data": {"name": "digits", "n_train": 6, "n_test": 6}, "widths": [4]}
    common |= {"natural_gradient": {"steps": 2}, "gradient_descent": {"steps": 2}}
    problems = [
        common | {"name": "two, digits", "model": {"factory": "build", "options": {"depth": 2}}},
        common | {"name": "three, digits", "model": {"factory": "build", "options": {"depth": 3}}}
        | {"variations": {"width": 4, "axes": {"model.options.depth": [1]}}},
    ]  # fmt: skip
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"seeds": [0], "problems": problems}))

    def depths(**changes):
        cells = PRESET(str(file), **changes).cells()
        return [(c["problem"], c["variation"], c["model"]["options"].get("depth")) for c in cells]

    three = [("three, digits", "", 3), ("three, digits", "model.options.depth=1", 1)]
    assert depths(model=build) == [("two, digits", "", 2), *three]
    assert [d[:1] + d[2:] for d in depths(model=build, data=(X, Y))] == [
        ("two, given data", 2),
        ("three, given data", 3),
        ("three, given data", 1),
    ]
    other = {"factory": build, "options": {"depth": 4}}
    assert depths(model=other)[0] == ("two, digits", "", 4)
    assert depths(model=fixed) == [("fixed, digits", "", None)]
