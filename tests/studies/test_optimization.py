import copy
import math
import re
import warnings

import numpy as np
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import AccuracyWarning, DataError, KernelError, StudyError
from ntkgap.practice import train
from ntkgap.studies import STUDIES
from ntkgap.studies.figures import CurveFigure, ScatterFigure, WidthFigure
from ntkgap.studies.findings import Findings
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.optimization.measure import decay_rate, initialize, rate_error, rate_errors
from ntkgap.studies.optimization.problem import OptimizationProblem
from ntkgap.studies.statistics import RECOMMENDED_SEEDS
from ntkgap.theory import critical_learning_rate
from tests.tolerances import CANCELLING, ITERATED

compute = OptimizationStudy.compute_cell

TINY = {
    "problem": "tiny",
    "width": 16,
    "seed": 0,
    "model": {"architecture": "mlp", "depth": 2, "nonlinearity": "tanh", "weight_std": 1.0},
    "data": {"name": "sphere", "n_train": 6, "n_test": 7, "options": {"dim": 5}},
    "natural_gradient": {"learning_rate": 0.5, "steps": 6},
    "gradient_descent": {"steps": 12},
}


MEASURED = ("scalars", "curves")


def tiny(**changes):
    return {**copy.deepcopy(TINY), **changes}


COMPARISON = {"steps": 25, "second_order_steps": 5, "target": 0.1, "tuning_points": 2}


def but_seconds(result):
    """A result without what was read from a clock."""
    kept = {part: {k: v for k, v in result[part].items() if not k.startswith("seconds")} for part in MEASURED}
    assert all(len(kept[part]) < len(result[part]) for part in MEASURED)
    return str(result | kept)  # as text, in which NaN equals NaN


def test_a_cell_is_a_pure_function_of_its_configuration():
    torch.manual_seed(1)
    first = compute(tiny())
    torch.manual_seed(2)
    torch.rand(3)
    assert compute(tiny()) == first
    short = COMPARISON | {"steps": 6, "second_order_steps": 2}
    compared = [but_seconds(compute(tiny(comparison=short))) for _ in range(2)]
    assert compared[0] == compared[1]
    assert compute(tiny(seed=1))["scalars"] != first["scalars"]


def test_the_ball_holds_what_the_path_shows_and_more():
    without = compute(tiny())["scalars"]
    searched = compute(tiny(search={"starts": 1, "steps": 3, "max_parameters": 10_000}))["scalars"]
    too_large = compute(tiny(search={"max_parameters": 10}))["scalars"]
    assert without["ngd_path_in_ball"]
    assert without["c_prime_ball"] == pytest.approx(without["c_prime"]) == too_large["c_prime_ball"]
    assert searched["c_prime_ball"] > 1.2 * without["c_prime_ball"]
    for scalars in (without, searched):
        refuted = scalars["c_prime_ball"] >= 0.5
        assert math.isnan(scalars["c_prime_ball_refutes"]) != refuted
    claim = next(c for c in ng.OptimizationStudy.preset("smoke").claims() if c.key == "jacobian_stable_in_ball")
    assert not claim.holds(0.5)  # no number that the cell hands on can confirm the claim


@pytest.mark.parametrize(
    "settings", [{"parametrization": "mup"}, {"parametrization": "mean_field"}, {"gamma0": 0.5}]
)
def test_parametrizations_are_compared_at_the_learning_rate_they_train_with(settings):
    """For a short while every network follows its tangent kernel; at another learning rate it would not."""
    model = dict(TINY["model"], **settings)
    found = compute(tiny(model=model, width=64, gradient_descent={"steps": 3, "fraction_of_critical": 0.02}))
    assert found["scalars"]["gd_discrepancy"] < 2e-3
    assert found["curves"]["gd_loss"][-1] < 0.99


def test_large_outputs_train_lazily():
    changes = [
        compute(tiny(model=dict(TINY["model"], alpha=alpha, antisymmetric=True)))["scalars"]["kernel_change"]
        for alpha in (1.0, 30.0)
    ]
    assert changes[1] < 0.01 < 0.1 * changes[0]


def test_a_model_linear_in_its_parameters_is_all_that_theory_says():
    """With the identity as nonlinearity the shallow network is linear in its trained layer: no gap at all."""
    scalars = compute(
        tiny(model={"architecture": "shallow", "nonlinearity": "identity"}, data=dict(TINY["data"], n_train=4))
    )["scalars"]
    assert scalars["c_prime"] < 3 * CANCELLING * math.sqrt(scalars["condition_number"])
    assert scalars["ngd_rate_error"] < ITERATED
    assert scalars["ngd_decay"] == pytest.approx(0.25, rel=ITERATED)
    assert scalars["ngd_guarantee_kept"]
    for quantity in ("gd_discrepancy", "kernel_change", "kernel_distance", "linearization_error"):
        assert scalars[quantity] < ITERATED, quantity


def test_predictions_for_the_linearized_model_are_those_of_a_linearized_model_that_is_really_trained():
    problem = OptimizationProblem(name="tiny", widths=[16], **{k: TINY[k] for k in list(TINY)[3:]})
    found = initialize(problem, 16, 0, Findings())
    rate = 0.5 * critical_learning_rate(found.gram)
    linearized = ng.linearize(found.network)
    curve = train(linearized, found.train, learning_rate=rate, steps=12)
    decay = found.dynamics.gradient_descent_decay(rate, torch.arange(13))
    losses = torch.tensor(curve.losses, dtype=torch.float64)
    torch.testing.assert_close(found.dynamics.losses(decay), losses, rtol=ITERATED, atol=0)
    network = copy.deepcopy(found.network)
    train(network, found.train, learning_rate=rate, steps=12)
    with torch.no_grad():
        f, f_linearized, f_start = (m(found.test.x) for m in (network, linearized, found.network))
    expected = (f - f_linearized).norm() / (f_linearized - f_start).norm()
    assert compute(tiny())["scalars"]["linearization_error"] == pytest.approx(expected.item(), rel=ITERATED)


def test_wider_networks_come_closer_to_the_theory():
    """Root mean square over seeds: a single gap may vanish by chance."""
    quantities = ("c_prime", "ngd_rate_error_worst", "gd_discrepancy", "kernel_change", "linearization_error")
    narrow, wide = ([compute(tiny(width=w, seed=s))["scalars"] for s in range(4)] for w in (16, 512))
    for quantity in quantities:
        gaps = [math.hypot(*(scalars[quantity] for scalars in cells)) for cells in (narrow, wide)]
        assert gaps[1] < 0.4 * gaps[0], quantity


def test_a_diverging_learning_rate_is_a_finding_not_a_failure():
    result = compute(tiny(gradient_descent={"fraction_of_critical": 40.0, "steps": 60}))
    assert result["diverged"]
    assert any("gradient descent: diverged at step" in note for note in result["notes"])
    assert result["scalars"]["gd_discrepancy"] == math.inf
    assert math.isfinite(result["scalars"]["c_prime"])


def test_a_gram_matrix_with_more_rows_than_parameters_is_singular_for_certain():
    scalars = compute(tiny(width=1, data=dict(TINY["data"], n_train=12)))["scalars"]
    assert scalars["n_parameters"] < scalars["gram_rows"]
    assert scalars["gram_margin"] == 0
    assert math.isnan(scalars["c_prime"])


def test_below_the_noise_floor_is_inconclusive(tmp_path):
    """Two equal inputs make K singular, though there are parameters enough: arithmetic cannot tell."""
    x = np.random.default_rng(0).normal(size=(4, 5))
    np.savez(tmp_path / "duplicates.npz", x=np.concatenate([x, x]), y=np.arange(8.0))
    data = {"name": str(tmp_path / "duplicates.npz"), "n_train": 7, "n_test": 1}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = compute(tiny(data=data))
    scalars = found["scalars"]
    # Rounding decides whether the matrix has a Cholesky factor or there is no step: both name the rows.
    told = [str(one.message) for one in caught if one.category is AccuracyWarning] + found["notes"]
    singular = r"Gram matrix (at the start|is numerically singular).*repeat others \(rows 0 = 3, 1 = 5, 4 = 6\)"
    assert any(re.search(singular, text) for text in told)
    assert math.isnan(scalars["gram_margin"])
    assert math.isnan(scalars["c_prime"])


def test_decay_stops_where_rounding_begins():
    losses = [1.0, 0.25, 0.0625, 1e-26, 1e-27]
    assert decay_rate(losses) == pytest.approx(0.25)
    assert rate_error(losses, losses) == 0
    assert rate_error([1, 0.25, 0.25**2], [1, 0.5, 0.5**2]) == pytest.approx(1)
    assert rate_errors([1, 0.25, 0.125, 1e-30], [1, 0.5, 0.25, 0.125]) == pytest.approx([1, 0])


PRESETS = [(study, name) for study in STUDIES.values() for name in study.presets()]


@pytest.mark.parametrize(("study", "name"), PRESETS, ids=[f"{study.name}-{name}" for study, name in PRESETS])
def test_every_preset_of_every_study_is_sound(study, name):
    preset = study.preset(name)
    assert study.presets()[name]
    assert study.build(preset.configuration()) == preset
    try:
        preset.check()
    except DataError as error:
        if "are not in" not in str(error):
            raise
        pytest.skip(f"the data of this preset are not at hand: {error}")
    cells = preset.cells()
    assert len({str(c) for c in cells}) == len(cells)
    assert all(preset.cost(c) > 0 for c in cells)


def test_every_study_has_the_presets_that_need_no_files():
    for study in STUDIES.values():
        assert {"quick", "smoke"} <= set(study.presets())


def test_a_preset_may_leave_claims_out_by_their_keys():
    whole = ng.OptimizationStudy.preset("smoke")
    some = ng.OptimizationStudy.build(whole.configuration() | {"leave_out": ["ngd_rate"]})
    assert {c.key for c in whole.judged_claims()} - {c.key for c in some.judged_claims()} == {"ngd_rate"}
    assert some.cells() == whole.cells(), "what is measured stays"
    assert "leave_out" not in whole.configuration(), "as in older stores"
    assert ng.OptimizationStudy.build(whole.configuration() | {"leave_out": ["linearised_twin"]}).leave_out == [
        "linearized_model"
    ], "an old key"
    with pytest.raises(StudyError, match="there is no claim 'ngd_rat'"):
        ng.OptimizationStudy.build(whole.configuration() | {"leave_out": ["ngd_rat"]})


def test_the_default_run_has_the_fewest_seeds_that_can_stand_among_many_verdicts():
    for study in STUDIES.values():
        assert len(study.preset("quick").seeds) == min(RECOMMENDED_SEEDS)


def test_every_claim_finds_its_quantity_and_every_figure_its_curves():
    study = ng.OptimizationStudy.preset("smoke")
    short = COMPARISON | {"steps": 6, "second_order_steps": 2}
    result = compute(tiny(comparison=short, train={"optimizer": "sgd", "learning_rate": 1e-3, "steps": 3}))
    assert {claim.quantity for claim in study.claims()} <= set(result["scalars"])
    assert len({claim.key for claim in study.claims()}) == 13
    # The one optimizer without a run: here the theorem allows no step.
    assert result["scalars"]["theorem_learning_rate"] == 0
    absent = {"race_ngd_theorem_loss", "race_ngd_theorem_test", "seconds_race_ngd_theorem"}
    assert not absent & set(result["curves"])
    for figure in study.figures():
        if isinstance(figure, WidthFigure):
            assert {figure.measured, *(name for name, _ in figure.references)} <= set(result["scalars"])
        elif isinstance(figure, ScatterFigure):
            assert {figure.x, figure.y} <= set(result["scalars"])
        elif isinstance(figure, CurveFigure):
            assert {figure.measured, figure.predicted or figure.measured} <= set(result["curves"])
        else:
            names = {n for line in figure.lines for n in (line.measured, line.seconds, line.predicted, line.limit)}
            assert names - {None} - absent <= set(result["curves"])


def test_presets_can_be_changed():
    study = ng.OptimizationStudy.preset("smoke", widths=[32], seeds=[4, 5], problems=["mlp"])
    assert {(c["width"], c["seed"]) for c in study.cells()} == {(32, 4), (32, 5)}
    assert [p.name for p in study.problems] == ["MLP (2 hidden layers), digits"]
    other = ng.OptimizationStudy.preset("smoke", data="sphere", problems=["mlp"])
    assert other.problems[0].name == "MLP (2 hidden layers), sphere"


def test_a_data_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "mine.npz"
    cells = []
    for scale in (1.0, 2.0):
        np.savez(path, x=scale * np.eye(40), y=np.arange(40.0))
        cells.append(ng.OptimizationStudy.preset("smoke", data=str(path), problems=["mlp"]).cells()[0])
    assert cells[0]["data"]["name"] == cells[1]["data"]["name"]
    assert cells[0] != cells[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"widths": [0]}, "greater than or equal to 1, got 0"),
        ({"widths": []}, "widths"),
        ({"seeds": [-1]}, r"seeds.0.*got -1"),
        ({"problems": ["transformer"]}, "no problem like transformer; it has 'shallow ReLU, sphere'"),
    ],
)
def test_bad_changes_are_named(changes, words):
    with pytest.raises(StudyError, match=words):
        ng.OptimizationStudy.preset("smoke", **changes)


def test_bad_presets_are_named(tmp_path):
    with pytest.raises(StudyError, match=r"unknown preset 'loud'.*choose one of paper, quick, smoke, standard"):
        ng.OptimizationStudy.preset("loud")
    with pytest.raises(StudyError, match=r"no preset file at .*missing.yaml; give the path .*one of paper, quick"):
        ng.OptimizationStudy.preset(str(tmp_path / "missing.yaml"))
    path = tmp_path / "mine.yaml"
    path.write_text("- a list")
    with pytest.raises(StudyError, match="must be a YAML mapping"):
        ng.OptimizationStudy.preset(str(path))
    for text in ("problems: 3", "seeds: [0]\nproblems: [3]", "seeds: [0]\nproblems: [{name: 4}]"):
        path.write_text(text)
        for changes in ({}, {"widths": [2]}, {"problems": ["x"]}, {"data": "digits"}):
            with pytest.raises(StudyError, match="does not describe the study 'optimization'"):
                ng.OptimizationStudy.preset(str(path), **changes)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="cannot read the preset"):
        ng.OptimizationStudy.preset(str(path))
    path.write_text("seeds: [0]\nproblems: []\nloud: 3")
    with pytest.raises(StudyError, match="loud: there is no such key; the keys are description, seeds, problems"):
        ng.OptimizationStudy.preset(str(path))


@pytest.mark.parametrize(
    ("section", "setting", "words"),
    [
        ("gradient_descent", {"fraction_of_critical": float("inf"), "steps": 3}, "finite number"),
        ("data", {"name": "sphere", "n_train": 4, "options": {"n_train": 5}}, "options cannot hold n_train"),
        ("model", {"architecture": "shallow", "depth": 5}, "depth has no effect on architecture 'shallow'"),
        ("natural_gradient", {"learning_rate": 1.0, "steps": 3}, "less than 1"),
    ],
)
def test_bad_settings_are_named(section, setting, words):
    configuration = ng.OptimizationStudy.preset("smoke").configuration()
    configuration["problems"][0][section] = setting
    with pytest.raises(StudyError, match=words):
        ng.OptimizationStudy.build(configuration)


def test_a_network_too_large_for_memory_is_named():
    with pytest.raises(StudyError, match="GB at width 900000000, its narrowest, and this machine has"):
        ng.OptimizationStudy.preset("smoke", widths=[900_000_000], problems=["mlp"]).check()


def test_inputs_that_do_not_vary_in_a_draw_have_no_learning_rate(tmp_path):
    x = np.zeros((8, 5))
    x[ng.data.sampling.split(8, 6, 2, np.random.default_rng(0), None)[1]] = 1.0  # only on the test set
    np.savez(tmp_path / "flat.npz", x=x, y=np.arange(8.0))
    data = {"name": str(tmp_path / "flat.npz"), "n_train": 6, "n_test": 2}
    with pytest.raises(KernelError, match="no positive eigenvalue"):
        compute(tiny(data=data))


def test_gradient_descent_stops_before_rounding_decides_the_kernel():
    long = compute(tiny(gradient_descent={"steps": 100_000}, width=64))
    assert long["scalars"]["gd_steps"] < 100_000
    assert 1e-12 <= long["scalars"]["gd_loss_predicted_end"] < 1e-11


def test_the_shallow_network_cannot_be_given_classes():
    with pytest.raises(StudyError, match="one output, but the data have 10 targets"):
        ng.OptimizationStudy.preset("smoke", data="digits", problems=["shallow"]).check()


def test_numbers_of_widths_and_seeds():
    study = ng.OptimizationStudy.preset("smoke", widths=32, seeds=3)
    assert study.seeds == [0, 1, 2]
    assert {width for problem in study.problems for width in problem.widths} == {32}
    for bad in (True, "6", 1.5, [1, "2"]):
        with pytest.raises(StudyError, match="seeds must be whole numbers"):
            ng.OptimizationStudy.preset("smoke", seeds=bad)
