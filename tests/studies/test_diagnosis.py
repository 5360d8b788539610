"""The diagnosis on networks of a known regime."""

import pytest
from torch import nn

import ntkgap as ng
from tests.studies.clear_cut import clear_cut
from tests.studies.diagnosed import diagnosed

LAZY = {"antisymmetric": True, "alpha": 100.0}


@pytest.mark.usefixtures("in_process")
def test_a_linear_model_is_in_the_kernel_regime(tmp_path, digits):
    found = ng.diagnose(nn.Linear(64, 10), digits, seeds=5, store=tmp_path / "runs", progress=False)
    assert found.regime == "kernel"
    frame = found.to_pandas()
    assert (frame[["linearization_gap", "linearization_gap_test", "kernel_change"]] <= 1e-6).to_numpy().all()
    assert (frame[["curve_gap", "prediction_gap"]] <= 1e-4).to_numpy().all()
    assert (frame.loss_fall > 0.9).all()


@pytest.fixture
def digits():
    train, _ = ng.load_data("digits", n_train=32, n_test=4)
    return train.x, train.y.argmax(dim=1)


@pytest.mark.usefixtures("rule_alone")
def test_a_lazy_network_is_in_the_kernel_regime(tmp_path):
    found = diagnosed(tmp_path, LAZY, [32, 128], n_train=8, steps=40)
    assert found.regime == "kernel"
    assert "it holds at every width" in found.sentence


@pytest.mark.usefixtures("rule_alone")
@pytest.mark.parametrize("rich", [{"gamma0": 1.0}, {"parametrization": "mup"}], ids=["gamma0", "mup"])
def test_a_rich_network_learns_features_at_every_width(rich, tmp_path):
    found = diagnosed(tmp_path, rich, [64, 256, 1024], n_train=8, steps=50)
    assert found.regime == "feature learning"
    assert "extrapolated" not in found.sentence


@pytest.mark.usefixtures("rule_alone")
def test_standard_parametrization_comes_nearer_to_the_kernel_regime_with_width(tmp_path):
    model = {"parametrization": "standard", "depth": 2}
    found = diagnosed(tmp_path, model, [256, 2048], steps=15, n_train=6, probe=3)
    assert found.regime in ("kernel", "mixed")
    trend = next(v.trend for v in found._verdicts if v.claim.key == "linearization_gap")
    assert -0.9 < trend.slope.value < -0.3


@pytest.mark.usefixtures("rule_alone")
def test_ten_tiny_steps_tell_nothing(tmp_path):
    tiny = {"optimizer": "gd", "learning_rate": 1e-6, "steps": 10}
    found = diagnosed(tmp_path, {}, [16, 64], train=tiny, n_train=8)
    assert found.regime == "not trained enough"


@pytest.mark.usefixtures("rule_alone")
def test_past_the_edge_of_stability_is_not_the_kernel_regime(tmp_path):
    found = diagnosed(tmp_path, {}, [16, 64], fraction_of_critical=1.5, momentum=0.0, n_train=8)
    assert found.regime in ("mixed", "feature learning")
    assert "the step is 1.5 times the largest at which the kernel regime is stable" in found.sentence
    assert (found.to_pandas().stability > 1).all()


@pytest.mark.usefixtures("rule_alone")
@pytest.mark.parametrize("number", range(4))
def test_no_clear_cut_network_is_taken_for_its_opposite(number, tmp_path):
    """A few of what benchmarks/diagnose.py does two hundred times."""
    half, settings = clear_cut(number)
    found = diagnosed(tmp_path, seeds=3, **settings)
    assert found.regime != {"lazy": "feature learning", "rich": "kernel"}[half], found.sentence
