"""A user's own networks, of twelve kinds, through all studies; failures stay in their cells."""

import math

import numpy as np
import pytest
import yaml
from torch import nn

import ntkgap as ng
from tests.studies.factories import KINDS, fails_at_six, no_width, returns_nan, two_outputs

STUDIES = [ng.OptimizationStudy, ng.UncertaintyStudy, ng.ContinualStudy, ng.studies.DiagnosisStudy]
MLP = {"architecture": "mlp"}
TINY = {
    "optimization": [
        {"name": "MLP, digits", "natural_gradient": {"steps": 2}, "gradient_descent": {"steps": 4},
         "comparison": {"steps": 2, "second_order_steps": 1, "tuning_points": 2,
                  "optimizers": ["sgd", "adam", "ngd", "kfac"]}},
    ],
    "uncertainty": [
        {"name": "MLP, digits", "kind": "ensemble", "members": 3, "training": {"steps": 2, "observations": 2}},
        {"name": "digits, MLP", "kind": "bandit", "data": {"name": "digits", "n_train": 6, "n_test": 1},
         "training": {"steps": 2, "every": 3},
         "rules": ["evidence", "limit"], "tuned": {"ucb": [1.0], "ntk_ucb": [1.0], "lin_ucb": [1.0]}},
    ],
    "continual": [
        {"name": "split digits, MLP", "stream": {"kind": "split", "tasks": 2},
         "training": {"fraction_of_critical": 0.5, "steps": [1, 3]},
         "methods": {"joint": True, "ogd": 2, "replay": 2}},
    ],
    "diagnosis": [{"name": "MLP, digits", "training": {"steps": 3}, "probe": 4}],
}  # fmt: skip


@pytest.fixture
def presets(tmp_path):
    """A file of each study with one problem a kind, as small as can be."""
    for study, problems in TINY.items():
        common = {"model": MLP, "data": {"name": "digits", "n_train": 12, "n_test": 12}, "widths": [4]}
        configuration = {"description": "", "seeds": [0], "problems": [common | problem for problem in problems]}
        (tmp_path / f"{study}.yaml").write_text(yaml.safe_dump(configuration))
    return tmp_path


def data_for(factory, n=90):
    """Six classes, far enough apart to be learned; regression on two targets for that factory."""
    rng, classes = np.random.default_rng(0), np.arange(n) % 6
    shape = KINDS[factory]
    x = rng.normal(size=(n, *shape)) + 0.6 * np.cos(classes).reshape(-1, *(1,) * len(shape))
    if factory is two_outputs:
        return x, np.stack([x.reshape(n, -1)[:, 0], x.reshape(n, -1).mean(1)], axis=1)
    return x, classes


def cells_of(study, factory, presets):
    """Those of a study of a factory, at two widths if it takes one."""
    widths = {} if factory is no_width else {"widths": [4, 6]}
    preset = str(presets / f"{study.name}.yaml")
    return study.preset(preset, model=factory, data=data_for(factory), **widths).cells()


@pytest.mark.filterwarnings("ignore:left out")
@pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.name)
@pytest.mark.parametrize("factory", KINDS, ids=lambda f: f.__name__)
def test_a_factory_goes_through_a_study(study, factory, presets):
    cells = cells_of(study, factory, presets)
    expected = {
        "optimization": 1,
        "uncertainty": 1 if factory is two_outputs else 2,
        "continual": 1,
        "diagnosis": 1,
    }
    assert len({cell["problem"] for cell in cells}) == expected[study.name]
    for cell in cells:
        if cell["width"] == 6:  # at another width nothing is new but for the factory that fails there
            if factory is fails_at_six:
                with pytest.raises(
                    ng.NtkgapError, match=r"failed at width 6: ValueError: 6 is not divisible by 4"
                ):
                    study.compute_cell(cell)
        elif factory is returns_nan:
            with pytest.raises(ng.NtkgapError, match="NaN or infinite outputs"):
                study.compute_cell(cell)
        else:
            result = study.compute_cell(cell)
            numbers = [float(v) for v in result["scalars"].values() if v is not None]
            assert sum(map(math.isfinite, numbers)) > 10


@pytest.mark.parametrize(
    ("factory", "options", "shape"),
    [
        ("ntkgap:Transformer", {"in_features": 3, "depth": 1, "heads": 2}, (4, 3)),
        ("ntkgap:VGG", {"in_channels": 1, "depth": 1}, (1, 8, 8)),
    ],
)
def test_our_networks_that_are_no_architecture_of_a_preset_come_as_factories(factory, options, shape, presets):
    x = np.random.default_rng(0).normal(size=(40, *shape))
    study = ng.OptimizationStudy.preset(
        str(presets / "optimization.yaml"),
        model={"factory": factory, "options": options},
        data=(x, np.arange(40) % 2),
        widths=[4],
    )
    assert ng.OptimizationStudy.compute_cell(study.cells()[0])["scalars"]["kernel_change"] > 0


def test_a_width_that_is_not_used_is_warned_of():
    def same(width, in_features, n_outputs):
        return nn.Sequential(nn.Flatten(), nn.Linear(in_features, n_outputs))

    with pytest.warns(ng.errors.StudyWarning, match="650 parameters at width 4 and at width 8"):
        ng.OptimizationStudy.preset("smoke", problems=["MLP"], model=same, widths=[4, 8], seeds=[0])


def test_outputs_that_mix_examples_are_refused():
    class Mix(nn.Module):
        def __init__(self, width, in_features, n_outputs):
            super().__init__()
            self.layer = nn.Linear(in_features, n_outputs)

        def forward(self, x):
            y = self.layer(x.flatten(1))
            return y - y.mean(dim=0)

    with pytest.raises(ng.NtkgapError, match="says something else of an example if others are in the same call"):
        ng.OptimizationStudy.preset("smoke", problems=["MLP"], model=Mix, widths=[4], seeds=[0])


def test_wide_networks_of_ones_own_are_not_built_to_be_refused():
    built = []

    def wide(width, in_features, n_outputs):
        built.append(width)
        return nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, n_outputs))

    with pytest.raises(ng.NtkgapError, match=r"needs about .* GB at width 1000000000, its narrowest"):
        ng.OptimizationStudy.preset("smoke", problems=["MLP"], model=wide, widths=[10**9], seeds=[0])
    study = ng.OptimizationStudy.preset("smoke", problems=["MLP"], model=wide, widths=[10**6], seeds=[0])
    assert study.problems[0].sizes(10**6).parameters == 65 * 10**6 + 10 * 10**6 + 10
    assert max(built) <= 4096
