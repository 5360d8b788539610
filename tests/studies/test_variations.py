import copy
import math

import numpy as np
import pytest

import ntkgap as ng
from ntkgap.axis_names import axis_label, row_name
from ntkgap.errors import StudyError
from ntkgap.studies import assess, assess_variations
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.axes import MeasuredAxis, judge_along, measured_axes
from ntkgap.studies.measured import Measured
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.variations import value_text
from ntkgap.sweep import Runs
from tests.here import Here
from tests.studies.test_verdict import claim

compute = OptimizationStudy.compute_cell

TINY = {
    "seeds": [0, 1],
    "problems": [
        {
            "name": "tiny",
            "model": {"architecture": "mlp", "depth": 2, "nonlinearity": "tanh"},
            "data": {"name": "sphere", "n_train": 5, "n_test": 4, "options": {"dim": 5}},
            "widths": [8, 16],
            "natural_gradient": {"steps": 3},
            "gradient_descent": {"steps": 6},
            "variations": {"width": 16, "axes": {"model.alpha": [10, 0.5], "model.parametrization": ["standard"]}},
        }
    ],
}


def measure(study, store):
    return ng.run(study, store, engine=Here(), progress=False)


def study(axes=None, width=16, **changes):
    configuration = copy.deepcopy(TINY) | changes
    problem = configuration["problems"][0]
    problem["variations"]["width"] = width
    if axes is not None:
        problem["variations"]["axes"] = axes
    return ng.OptimizationStudy.build(configuration)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return measure(study(), tmp_path_factory.mktemp("store"))


def test_cells_are_those_of_the_widths_and_those_of_the_axes():
    cells = study().cells()
    places = [(c["width"], c["variation"], c["seed"]) for c in cells]
    base = [(w, "", s) for w in (8, 16) for s in (0, 1)]
    varied = ["model.alpha=10.0", "model.alpha=0.5", "model.parametrization=standard"]
    assert places == base + [(16, v, s) for v in varied for s in (0, 1)]
    assert {c["model"]["alpha"] for c in cells if c["variation"] == varied[0]} == {10.0}
    assert {c["model"]["alpha"] for c in cells if not c["variation"].startswith("model.alpha")} == {1.0}
    assert all("variations" not in c for c in cells)


def test_a_width_of_their_own_is_measured_once_as_the_problem_stands():
    cells = study(width=32).cells()
    assert [c["width"] for c in cells if not c["variation"]] == [8, 8, 16, 16, 32, 32]
    assert {c["width"] for c in cells if c["variation"]} == {32}


def test_the_own_value_may_be_listed_and_is_not_computed_again():
    listed = study({"model.depth": [1, 2, 3]}).cells()
    assert listed == study({"model.depth": [1, 3]}).cells()


def test_without_variations_nothing_changes():
    smoke = ng.OptimizationStudy.preset("smoke").cells()
    assert {c["variation"] for c in smoke} == {""}
    configuration = copy.deepcopy(TINY)
    del configuration["problems"][0]["variations"]
    plain = ng.OptimizationStudy.build(configuration).cells()
    assert plain == [c for c in study().cells() if not c["variation"]]


def test_a_data_file_is_pinned_in_varied_cells_too(tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.eye(40), y=np.arange(40.0))
    problem = TINY["problems"][0] | {"data": {"name": str(tmp_path / "mine.npz"), "n_train": 5}}
    problem["variations"] = {"width": 16, "axes": {"data.n_train": [7]}}
    made = ng.OptimizationStudy.build({"seeds": [0], "problems": [problem]})
    assert len({c["data"]["fingerprint"] for c in made.cells()}) == 1
    assert {c["data"]["n_train"] for c in made.cells()} == {5, 7}


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"model.dept": [1]}, r"no setting 'model.dept'; choose one of model.architecture, .*model.depth"),
        ({"modle.depth": [1]}, r"no setting 'modle.depth'; choose one of data, model"),
        ({"model.depth.deep": [1]}, "no setting 'model.depth.deep'"),
        ({"model": [1]}, "'model' is not a single setting; choose one of model.architecture"),
        ({"widths": [1]}, "no setting 'widths'"),
        ({"data.name": ["digits"]}, "data.name cannot be an axis; other data are a problem of their own"),
        ({"search.steps": [1]}, "no setting 'search.steps'"),
        ({"model.alpha": [10, -1]}, "model.alpha cannot be -1: Input should be greater than 0"),
        ({"model.pooling": ["flatten"]}, "model.pooling cannot be 'flatten': .*no effect on architecture 'mlp'"),
        ({"model.alpha": [10, 10.0]}, "model.alpha has the value 10.0 twice"),
        ({"model.alpha": [1]}, "model.alpha needs a value besides the problem's own, 1.0"),
        ({"model.alpha": []}, "model.alpha needs a value besides"),
        ({}, "at least 1"),
    ],
)
def test_bad_axes_are_named(axes, words):
    with pytest.raises(StudyError, match=words):
        study(axes)


def test_what_only_building_shows_is_named_before_the_sweep():
    made = copy.deepcopy(TINY)
    made["problems"][0]["model"]["gamma0"] = 1.0
    with pytest.raises(StudyError, match=r"'tiny' with model.parametrization=standard: gamma0=1.0 with"):
        ng.OptimizationStudy.build(made).check()
    with pytest.raises(StudyError, match=r"'tiny' with model.nonlinearity=loud: "):
        study({"model.nonlinearity": ["loud"]}).check()
    study().check()


def test_verdicts_over_width_leave_varied_cells_alone(runs):
    cells = measured_cells(runs)
    assert list(cells) == ["tiny"]
    assert {(c.width, c.seed) for c in cells["tiny"]} == {(8, 0), (8, 1), (16, 0), (16, 1)}
    assert len(cells["tiny"]) == 4
    assert all([r.width for r in v.widths] == [8, 16] and v.widths[0].n_seeds == 2 for v in assess(runs))


def test_points_stand_in_order_and_hold_their_cells(runs):
    alpha, parametrization = measured_axes(runs)
    assert list(alpha.points) == [0.5, 1.0, 10.0]
    assert list(parametrization.points) == ["ntk", "standard"]
    for value, cells in alpha.points.items():
        assert [c.seed for c in cells] == [0, 1]
        assert all(c.cell["model"]["alpha"] == value and c.width == 16 for c in cells)
    assert [c.cell["variation"] for c in alpha.points[1.0]] == ["", ""]
    table = runs.to_pandas()
    for verdict in assess_variations(runs):
        if verdict.along.axis == "model.alpha":
            at_width = table[(table.width == 16) & (table["model.parametrization"] == "ntk")]
            medians = at_width.groupby("model.alpha")[verdict.claim.quantity].median()
            for value, result in verdict.results.items():
                if result.interval:
                    assert result.interval.value == pytest.approx(medians[value])


def test_cells_of_other_settings_are_points_of_another_problem(tmp_path):
    """A changed preset in the same store: what differs in more than the axis is not pooled."""
    axes = {"model.alpha": [10]}
    measure(study(axes), tmp_path)
    changed = copy.deepcopy(TINY)
    changed["problems"][0]["gradient_descent"]["steps"] = 4
    changed["problems"][0]["variations"]["axes"] = {"model.alpha": [30]}
    runs = measure(ng.OptimizationStudy.build(changed), tmp_path)
    points = {along.problem: list(along.points) for along in measured_axes(runs)}
    assert points == {
        "tiny (gradient_descent.steps 6)": [1.0, 10.0],
        "tiny (gradient_descent.steps 4)": [1.0, 30.0],
    }
    assert all(len(cells) == 2 for along in measured_axes(runs) for cells in along.points.values())


def test_a_value_is_shared_by_problems_that_differ_in_nothing_else(tmp_path):
    """α = 10 is the same measurement for a problem at α = 1 and, later, at α = 2."""
    measure(study({"model.alpha": [10]}, seeds=[0]), tmp_path)
    changed = copy.deepcopy(TINY) | {"seeds": [0]}
    changed["problems"][0]["model"]["alpha"] = 2.0
    changed["problems"][0]["variations"]["axes"] = {"model.alpha": [10]}
    made = ng.OptimizationStudy.build(changed)
    runs = measure(made, tmp_path)
    assert len(runs.cells) == 5
    assert [list(along.points) for along in measured_axes(runs)] == [[1.0, 10.0], [2.0, 10.0]]


def test_no_seed_counts_twice(tmp_path):
    """α = 10 as a varied value, later as the problem's own: one measurement, twice in the store."""
    measure(study({"model.alpha": [10]}), tmp_path)
    changed = copy.deepcopy(TINY)
    changed["problems"][0]["model"]["alpha"] = 10.0
    changed["problems"][0]["variations"]["axes"] = {"model.alpha": [1]}
    runs = measure(ng.OptimizationStudy.build(changed), tmp_path)
    for along in measured_axes(runs):
        for cells in along.points.values():
            assert sorted(cell.seed for cell in cells) == sorted({cell.seed for cell in cells})


def test_unfinished_axes_show_what_is_there(tmp_path):
    runs = measure(study({"model.alpha": [10, 30]}), tmp_path)
    for stored in runs.cells:
        if stored.cell["variation"] == "model.alpha=30.0" or (stored.cell["width"], stored.cell["seed"]) == (
            16,
            1,
        ):
            (stored.directory / "result.json").unlink()
    (along,) = measured_axes(Runs(tmp_path))
    assert {value: len(cells) for value, cells in along.points.items()} == {1.0: 1, 10.0: 1}


def along(values, own, axis="model.alpha"):
    """An axis on which quantity q has these numbers, one a seed."""

    def cell(seed, value):
        return Measured({"width": 64, "seed": seed}, {"q": value}, {}, [], False, 0.0)

    points = {v: [cell(i, q) for i, q in enumerate(numbers)] for v, numbers in values.items()}
    return MeasuredAxis("p", axis, 64, own, points)


LOW, HIGH, ACROSS = [0.1, 0.15, 0.2], [2.0, 2.5, 3.0], [0.5, 1.25, 2.0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({1.0: LOW, 10.0: LOW}, "Holds at both values tested."),
        ({1.0: LOW, 2.0: LOW, 10.0: LOW}, "Holds at all 3 values tested."),
        ({1.0: HIGH, 2.0: HIGH, 10.0: HIGH}, "Fails at all 3 values tested."),
        ({0.1: HIGH, 1.0: LOW, 10.0: LOW}, "Holds at α ≥ 1; fails at α = 0.1."),
        ({0.1: HIGH, 1.0: HIGH, 10.0: LOW}, "Holds at α = 10; fails at α ≤ 1."),
        ({0.1: LOW, 1.0: LOW, 10.0: ACROSS}, "Holds at α ≤ 1; inconclusive at α = 10."),
        ({0.1: LOW, 1.0: HIGH, 10.0: LOW}, "Holds at α = 0.1, 10; fails at α = 1."),
    ],
)
def test_sentences_say_where_a_claim_holds(values, sentence):
    verdict = judge_along(claim(), along(values, 1.0))
    assert verdict.sentence.startswith(f"{sentence} The median ")


def test_sentences_keep_to_the_words_of_the_claim():
    condition = judge_along(claim(kind="condition"), along({1.0: HIGH, 10.0: LOW}, 1.0))
    assert condition.sentence.startswith(
        "Holds at α = 10; condition not met at α = 1. The median goes from 2.5 at 1"
    )
    names = along({"ntk": HIGH, "standard": LOW, "mup": HIGH}, "ntk", "model.parametrization")
    sentence = judge_along(claim(), names).sentence
    assert sentence == "Holds at parametrization = standard; fails at parametrization = ntk, mup."
    still = judge_along(claim(), along({1.0: LOW, 3.0: HIGH, 10.0: LOW}, 1.0)).sentence
    assert still.endswith("The median is 0.15 at both ends; the limit is 1.")
    inconclusive = judge_along(claim(), along({1.0: [math.nan, 1.0, 1.0], 10.0: [math.inf] * 3}, 1.0))
    assert inconclusive.sentence == "Fails at α = 10; inconclusive at α = 1."
    assert "too small to tell" in inconclusive.results[1.0].reason
    assert not judge_along(claim(quantity="elsewhere"), names).results


def test_words_for_people():
    assert [value_text(v) for v in (None, True, False, 3, 0.5, 1e-7, "mup")] == [
        "none", "yes", "no", "3", "0.5", "1e-07", "mup",
    ]  # fmt: skip
    assert axis_label("model.alpha") == "α"
    assert axis_label("data.options.dim") == "data.options.dim"
    assert row_name({"problem": "tiny", "variation": "model.alpha=10.0"}) == "tiny, over α"
    assert row_name({"problem": "tiny", "variation": ""}) == "tiny"


def cell(width=32, fraction_of_critical=0.5, **model):
    """What is measured on a small network of seed 0."""
    tiny = copy.deepcopy(TINY["problems"][0])
    del tiny["variations"], tiny["name"], tiny["widths"]
    tiny["model"] |= model
    tiny["gradient_descent"] = {"steps": 20, "fraction_of_critical": fraction_of_critical}
    return compute({"problem": "tiny", "width": width, "seed": 0, "variation": "", **tiny})["scalars"]


LAZY = ("gd_discrepancy", "kernel_change", "linearization_error")


def test_antisymmetric_networks_are_lazy_like_the_square_of_alpha():
    """O(1/α) is what starting at zero gives (Chizat, Oyallon, Bach 2019); two equal copies give 1/α².

    They move in opposite directions by δ ∝ 1/α, f is odd in δ and K even: relative corrections start with δ².
    """
    alphas = (30.0, 300.0)
    found = [cell(alpha=a, antisymmetric=True) for a in alphas]
    for quantity in LAZY:
        slope = math.log(found[1][quantity] / found[0][quantity]) / math.log(alphas[1] / alphas[0])
        assert slope == pytest.approx(-2, abs=10 / alphas[0] ** 2), quantity


def test_networks_that_do_not_start_at_zero_stop_getting_lazier():
    found = [cell(alpha=a)["kernel_change"] for a in (100.0, 1000.0)]
    assert found[1] > 0.5 * found[0]


def test_small_gamma0_is_lazy():
    found = [cell(gamma0=g, antisymmetric=True) for g in (0.1, 0.01)]
    for quantity in LAZY:
        assert found[1][quantity] < 0.2 * found[0][quantity], quantity


def test_in_mu_parametrization_the_kernel_moves_at_any_width():
    def change(width, parametrization):
        return cell(width, fraction_of_critical=0.05, parametrization=parametrization)["kernel_change"]

    assert change(1024, "ntk") < 0.3 * change(64, "ntk")
    assert change(1024, "mup") > 0.5 * change(64, "mup")
    assert change(1024, "mup") > 10 * change(1024, "ntk")
