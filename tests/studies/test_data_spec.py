import copy
import shutil

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError, StudyError
from ntkgap.studies.assess import problem_names
from ntkgap.studies.model import ModelSpec
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.spec import DataSpec
from ntkgap.sweep import preview
from ntkgap.sweep.study import identity
from tests.data.file_writers import write_mnist
from tests.here import Here

compute = OptimizationStudy.compute_cell

CONVNET = {
    "problem": "convolutions",
    "width": 8,
    "seed": 0,
    "model": {"architecture": "convnet", "depth": 2, "nonlinearity": "relu", "weight_std": 2**0.5},
    "natural_gradient": {"learning_rate": 0.5, "steps": 3},
    "gradient_descent": {"steps": 5},
}


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    write_mnist(tmp_path / "mnist", n_train=40, n_test=40)
    monkeypatch.setenv("NTKGAP_DATA", str(tmp_path))
    return tmp_path


def test_image_data_flow_through_a_preset(mnist):
    study = ng.OptimizationStudy.preset("smoke", data="mnist", problems=["MLP"], widths=[4], seeds=[0])
    study.check()
    assert study.problems[0].name == "MLP (2 hidden layers), mnist"
    (cell,) = study.cells()
    assert cell["data"]["fingerprint"] == DataSpec(name="mnist", n_train=5).pinned().fingerprint
    assert compute(cell)["scalars"]["gram_rows"] == 100


def test_a_cell_is_known_by_the_files_contents(mnist):
    spec = DataSpec(name="mnist", n_train=5, n_test=5)
    before = spec.pinned()
    torch.testing.assert_close(before.load(0)[0].x, spec.load(0)[0].x)
    write_mnist(mnist / "mnist", n_train=40, n_test=40, seed=1)
    assert spec.pinned() != before
    with pytest.raises(DataError, match=r"the files of 'mnist' have changed since this was planned"):
        before.load(0)


def test_a_root_is_told_to_workers_and_no_part_of_the_cell(mnist, monkeypatch):
    from_environment = DataSpec(name="mnist", n_train=5, n_test=5).pinned()
    monkeypatch.chdir(mnist.parent)
    monkeypatch.delenv("NTKGAP_DATA")
    spec = DataSpec(name="mnist", n_train=5, n_test=5, options={"root": mnist.name}).pinned()
    assert spec.where == str(mnist)
    assert identity(spec.model_dump()) == identity(from_environment.model_dump())
    monkeypatch.chdir("/")
    assert len(spec.load(0)[0]) == 5
    assert spec.pinned() == spec


def write_own(folder, seed=0):
    folder.mkdir(parents=True)
    x = np.random.default_rng(seed).normal(size=(40, 3))
    np.savez(folder / "mine.npz", x=x, y=x[:, 0], z=x[:, 1])
    return folder / "mine.npz"


def own_study(name):
    return ng.OptimizationStudy.preset("smoke", data=str(name), problems=["shallow"], widths=[4], seeds=[0])


def test_own_files_are_the_same_wherever_they_lie_and_however_they_are_called(tmp_path, monkeypatch):
    file = write_own(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (expected,) = own_study(file).cells()
    assert (expected["data"]["name"], expected["data"]["where"]) == ("mine.npz", str(file.parent))
    spellings = ["here/mine.npz", "here/../here/mine.npz", "~/here/mine.npz", f"{file}:x,y", f"{file}: x , y"]
    for name in spellings:
        (cell,) = own_study(name).cells()
        assert identity(cell) == identity(expected)
    (other_targets,) = own_study(f"{file}:x,z").cells()
    assert other_targets["data"]["name"] == "mine.npz:x,z"
    assert identity(other_targets) != identity(expected)
    (other_numbers,) = own_study(write_own(tmp_path / "there", seed=1)).cells()
    assert other_numbers["data"]["name"] == "mine.npz"
    assert identity(other_numbers) != identity(expected)


def test_a_moved_folder_computes_nothing_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "here")
    first = ng.run(own_study("here/mine.npz"), "here/store", engine=Here(), progress=False)
    assert first.counts() == {"done": 1}
    assert str(tmp_path) not in "".join(f.read_text() for f in (tmp_path / "here/store").rglob("*.json"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert preview(own_study("there/mine.npz"), "there/store") == (1, [])
    more = own_study(tmp_path / "there/mine.npz").model_copy(update={"seeds": [0, 1]})
    again = ng.run(more, "there/store", engine=Here(), progress=False)
    assert again.counts() == {"done": 2}
    assert set(again.to_pandas()["data.name"]) == {"mine.npz"}
    assert len(problem_names(again)) == 2
    assert len(set(problem_names(again).values())) == 1


def test_bundled_data_are_not_pinned():
    spec = DataSpec(name="digits", n_train=5)
    assert spec.pinned() is spec


def test_missing_files_show_before_the_sweep_starts(tmp_path):
    study = ng.OptimizationStudy.preset("smoke", problems=["MLP"]).configuration()
    study["problems"][0]["data"] |= {"name": "mnist", "options": {"root": str(tmp_path)}}
    study = ng.OptimizationStudy.build(study)
    for action in (study.check, study.cells):
        with pytest.raises(DataError, match=r"the files of 'mnist' are not in"):
            action()


@pytest.mark.parametrize(
    ("pooling", "data"),
    [
        ("global_average", {"name": "digits", "n_train": 4, "n_test": 5, "options": {"flatten": False}}),
        ("flatten", {"name": "mnist", "n_train": 4, "n_test": 5, "options": {"classes": [0, 1]}}),
    ],
)
def test_convolutional_networks_take_images(mnist, pooling, data):
    cell = copy.deepcopy(CONVNET) | {"data": data}
    cell["model"]["pooling"] = pooling
    result = compute(cell)
    outputs = 2 if "classes" in data["options"] else 10
    assert result["scalars"]["gram_rows"] == 4 * outputs
    assert result["scalars"]["limit_distance"] > 0
    pixels = 28 * 28 if pooling == "flatten" else 1
    assert result["scalars"]["n_parameters"] == 9 * 8 + 9 * 8 * 8 + 8 * pixels * outputs
    assert compute(cell) == result


def test_convolutional_networks_refuse_vectors():
    settings = {k: v for k, v in CONVNET.items() if k not in ("problem", "width", "seed")}
    data = {"name": "digits", "n_train": 4, "n_test": 5}
    problem = OptimizationProblem(name="wrong", widths=[4], data=data, **settings)
    with pytest.raises(StudyError, match=r"takes images \[n, C, H, W\], but the data have x of shape \(4, 64\)"):
        problem.check()


def test_pooling_is_idle_without_images():
    with pytest.raises(ValueError, match=r"pooling has no effect on architecture 'mlp'"):
        ModelSpec(architecture="mlp", pooling="flatten")
