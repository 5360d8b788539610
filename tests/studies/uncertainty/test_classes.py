"""Classification problems: what a cell measures, and what is refused."""

import copy
import math

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.studies.uncertainty import classes
from ntkgap.studies.uncertainty.classes.methods import METHODS, SCORES
from ntkgap.studies.uncertainty.ensembles.prediction import PRECISION_BOUNDS
from tests.tolerances import ITERATED

compute = ng.UncertaintyStudy.compute_cell

TINY = {
    "name": "tiny",
    "kind": "classification",
    "model": {"architecture": "mlp", "nonlinearity": "relu", "weight_std": 1.5, "bias_std": 0.2},
    "data": {"name": "digits", "n_train": 12, "n_test": 20},
    "widths": [12],
    "members": 3,
    "training": {"steps": 20},
}


def tiny(**changes):
    return ng.UncertaintyStudy.build({"seeds": [0], "problems": [{**copy.deepcopy(TINY), **changes}]})


@pytest.fixture(scope="module")
def measured():
    return compute(tiny().cells()[0])


def test_a_cell_measures_all_that_claims_and_tables_are_about(measured):
    torch.manual_seed(7)
    assert str(compute(tiny().cells()[0])) == str(measured)
    for claim in classes.claims():
        assert math.isfinite(measured["scalars"][claim.quantity]), claim.key
    for name in METHODS:
        assert all(math.isfinite(measured["scalars"][f"{name}_{score}"]) for score in SCORES)
    assert not measured["diverged"]
    assert measured["scalars"]["class_laplace_distance_to_mode"] < 1


def test_scores_are_those_of_the_library(measured):
    """The NTK-GP from the infinite-width kernel, and one network by hand."""
    problem = tiny().problems[0]
    train, test = (found.to(torch.float64) for found in problem.data.load(0))
    network = problem.network(train, 12, torch.Generator()).double()
    ntk = ng.infinite_width(network).ntk(torch.cat([train.x, test.x]))
    process = ng.theory.GaussianProcessClassifier(ntk[:12, :12], train.y).fit_evidence(PRECISION_BOUNDS)
    p = process.predict(ntk[12:, :12], ntk[12:, 12:]).probabilities()
    expected = ng.practice.classification_calibration(p, test.y)
    for score in SCORES:
        assert measured["scalars"][f"class_ntk_gp_evidence_{score}"] == pytest.approx(
            getattr(expected, score), rel=ITERATED
        )
    scalars = measured["scalars"]
    excess = scalars["class_laplace_evidence_ece"] - scalars["class_ensemble_ece"]
    assert scalars["class_laplace_evidence_ece_excess"] == excess


def test_an_ensemble_of_one_start_is_its_network(monkeypatch):
    """Members that all start as the first does say what it says, up to float32."""
    from ntkgap.studies.uncertainty.classes import measure as measuring

    class Same:
        def __init__(self, entropy):
            self.entropy = [*entropy[:2], 0]

        def generate_state(self, n):
            return [sum(self.entropy)]

    monkeypatch.setattr(measuring.np.random, "SeedSequence", Same)
    scalars = compute(tiny().cells()[0])["scalars"]
    assert scalars["class_ensemble_nll"] == pytest.approx(scalars["class_network_nll"], rel=1e-3)


def test_networks_that_diverge_are_scored_as_bad_as_can_be(monkeypatch):
    from ntkgap.studies.uncertainty.classes import measure as measuring

    monkeypatch.setattr(measuring, "critical_learning_rate", lambda gram: 1e12)
    result = compute(tiny().cells()[0])
    assert result["diverged"]
    assert result["scalars"]["class_laplace_evidence_nll"] == math.inf
    assert math.isfinite(result["scalars"]["class_ntk_gp_nll"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": TINY["model"] | {"parametrization": "standard"}}, "takes parametrization 'ntk'"),
        ({"model": TINY["model"] | {"trained": "hidden"}}, "all layers trained"),
        ({"members": 1}, "greater than or equal to 2"),
        ({"training": {"steps": 0}}, "greater than or equal to 1"),
        ({"training": {"steps": 5, "observations": 3}}, "observations"),
    ],
)
def test_problems_without_a_limit_are_refused(changes, words):
    with pytest.raises(StudyError, match=words):
        tiny(**changes)


@pytest.mark.parametrize(
    "data", [{"name": "toy"}, {"name": "digits", "options": {"targets": "plus_minus"}}], ids=["toy", "plus_minus"]
)
def test_data_without_classes_are_refused_before_the_sweep(data):
    with pytest.raises(StudyError, match="'tiny' is about classes"):
        tiny(data=TINY["data"] | data).check()


def test_a_network_without_a_limit_has_the_kernel_of_its_start():
    def build(width, in_features, n_outputs):
        hidden = torch.nn.Linear(in_features, width)
        return torch.nn.Sequential(hidden, torch.nn.Softmax(dim=1), torch.nn.Linear(width, n_outputs))

    x, y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).numpy(), [0, 1] * 20
    study = ng.UncertaintyStudy.preset(
        "smoke", model=build, data=(x, torch.tensor(y).numpy()), widths=6, n_train=10, n_test=10
    )
    (cell, *_) = [cell for cell in study.cells() if cell["kind"] == "classification"]
    assert cell["problem"].endswith(", classes of given data")
    result = compute(cell)
    assert any("the NTK-GP has the network's at its start" in note for note in result["notes"])
    assert math.isfinite(result["scalars"]["class_laplace_evidence_nll_excess"])
