"""The continual study: cells, claims, answers, and the page."""

import copy
import html
import math

import matplotlib as mpl
import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice.continual.lessons import Lesson
from ntkgap.reporting.matrices import matrix_figure
from ntkgap.studies import assess
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.continual.answers import QUESTIONS
from ntkgap.studies.continual.claims import claims
from ntkgap.studies.continual.stored import StoredScores
from ntkgap.studies.figures import MatrixFigure
from tests.here import Here
from tests.studies.continual.test_prediction import TINY
from tests.tolerances import EXACT

compute = ng.ContinualStudy.compute_cell

mpl.use("agg")

METHODS = {"joint": True, "ogd": 12, "ewc": 1.0, "replay": 4}


def tiny(**changes):
    return ng.ContinualStudy.build({"seeds": [0], "problems": [{**copy.deepcopy(TINY), **changes}]})


@pytest.fixture(scope="module")
def measured():
    return compute(tiny(methods=METHODS).cells()[0])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    heads = {"stream": {"kind": "split", "tasks": 3, "heads": "per_task"}}
    small = [
        {**TINY, "methods": METHODS, "widths": [4, 16]},
        {**TINY, **heads, "name": "heads", "widths": [4, 16]},
    ]
    study = ng.ContinualStudy.build({"seeds": [0, 1], "problems": copy.deepcopy(small)})
    return ng.run(study, tmp_path_factory.mktemp("store"), engine=Here(), progress=False)


def test_a_cell_is_a_pure_function_of_its_configuration(measured):
    torch.manual_seed(7)
    torch.rand(3)
    assert str(compute(tiny(methods=METHODS).cells()[0])) == str(measured)
    other = {**tiny(methods=METHODS).cells()[0], "seed": 1}
    assert compute(other)["scalars"] != measured["scalars"]


def test_forgetting_is_that_of_the_matrix_that_is_kept(measured):
    scores = torch.tensor(measured["curves"]["scores_long"], dtype=torch.float64).reshape(3, 3)
    matrix = ng.continual.AccuracyMatrix(scores)
    scalars = measured["scalars"]
    assert scalars["forgetting_long"] == pytest.approx(matrix.forgetting("max_minus_last"), abs=EXACT)
    assert scalars["average_long"] == pytest.approx(matrix.average_accuracy, abs=EXACT)
    assert scalars["learning_long"] == pytest.approx(matrix.learning_accuracy, abs=EXACT)
    predicted = torch.tensor(measured["curves"]["scores_initial_long"], dtype=torch.float64).reshape(3, 3)
    gap = (predicted - scores)[torch.ones(3, 3, dtype=torch.bool).tril()].abs().mean()
    assert scalars["gap_initial_long"] == pytest.approx(float(gap), abs=EXACT)
    assert measured["curves"]["stops"] == [2.0, 15.0]
    assert scalars["forgetting_short"] == measured["curves"]["forgetting"][0]


def test_a_cell_measures_all_that_claims_are_about(runs):
    study = tiny()
    for claim in study.claims():
        found = [v for v in assess(runs) if v.claim.key == claim.key]
        assert found, claim.key
    keys = [*(f.key for f in study.figures()), *(claim.key for claim in study.claims())]
    assert len(set(keys)) == len(keys)  # they name files
    of_heads = {v.problem for v in assess(runs) if v.claim.key == "heads_keep"}
    assert of_heads == {"heads"}  # judged where tasks have heads of their own


def test_orthogonal_gradients_are_judged_on_what_they_promise_to_keep():
    """Lazy, they keep the scores of stored examples; of labels' directions alone there is no promise."""
    lazy = {**TINY["model"], "alpha": 100.0}
    kept = compute(tiny(model=lazy, widths=[32], methods={"ogd": 6}).cells()[0])["scalars"]
    assert kept["ogd_stored_forgetting"] <= 0
    assert kept["ogd_train_forgetting"] <= kept["train_forgetting_long"]
    labels = compute(tiny(methods={"ogd": 6, "ogd_directions": "label"}).cells()[0])["scalars"]
    assert "ogd_label_forgetting" in labels
    assert not any("stored" in name for name in labels)


@pytest.mark.parametrize("kind", ["rotated", "split"])
def test_what_is_scored_as_stored_is_what_orthogonal_gradients_store(monkeypatch, kind):
    stream = ng.continual.load_stream(kind, "digits", n_train=20, n_test=5, tasks=3, flatten=True)
    found, drawn = [], Lesson.drawn

    def noted(lesson, n, generators):
        found.append(drawn(lesson, n, generators))
        return found[-1]

    monkeypatch.setattr(Lesson, "drawn", noted)
    settings = {"learning_rate": 1e-3, "stop": ng.continual.Steps(1), "method": ng.continual.OGD(examples=6)}
    ng.continual.train_tasks([ng.MLP(64, stream.n_outputs, 4, 1)], stream, seeds=[7], **settings)
    scored = StoredScores(stream, 6, 7)
    assert len(found) == 2 + 3  # of the last task nothing is stored
    for lesson, task, (data, columns) in zip(found[:2], stream.tasks, scored._tasks, strict=False):
        assert torch.equal(lesson.x[0], data.x)
        assert torch.equal(lesson.y[0][:, list(columns)], data.y)
        assert not torch.equal(data.x, task.train.x[:6]), "drawn at random"


def test_a_run_that_diverges_is_reported_and_the_cell_goes_on():
    hot = {"optimizer": "sgd", "learning_rate": 2.0, "steps": [2, 40]}
    linear = {**TINY["model"], "nonlinearity": "identity"}  # of others all units die, and the loss stays finite
    result = compute(tiny(model=linear, training=hot, kernels=[]).cells()[0])
    assert result["diverged"]
    assert any("diverged" in note for note in result["notes"])
    assert result["scalars"]["forgetting_long"] == math.inf
    assert math.isnan(result["scalars"]["learning_long"])
    claims = {claim.key: claim for claim in tiny().claims()}
    assert not claims["kernel_constant_long"].holds(result["scalars"]["kernel_change_long"])


def test_a_run_in_which_nothing_is_learned_says_so(measured):
    """A large rate kills all units, and the loss stays finite."""
    dead = compute(
        tiny(training={"optimizer": "sgd", "learning_rate": 200.0, "steps": [2, 40]}, kernels=[]).cells()[0]
    )
    assert not dead["diverged"]
    (note,) = (note for note in dead["notes"] if "nothing was learned" in note)
    assert f"score {dead['scalars']['train_score_long']:.2f}" in note
    assert not any("nothing was learned" in note for note in measured["notes"])


def test_optimizers_that_no_kernel_predicts_are_measured_without():
    training = {
        "optimizer": "adam",
        "learning_rate": 0.01,
        "loss": "cross_entropy",
        "batch_size": 4,
        "steps": [3, 9],
    }
    scalars = compute(tiny(training=training, kernels=[]).cells()[0])["scalars"]
    assert math.isfinite(scalars["forgetting_long"])
    assert not any("initial" in name or "infinite" in name for name in scalars)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": {"steps": [2, 5]}}, "takes fraction_of_critical"),
        ({"training": {"fraction_of_critical": 0.5, "steps": [5, 2]}}, "must be ascending"),
        ({"training": {"fraction_of_critical": 0.5, "steps": [5]}}, "at least 2 items"),
        ({"training": {"optimizer": "adam", "learning_rate": 0.1, "steps": [2, 5]}}, "leave kernels empty"),
        ({"training": {"fraction_of_critical": 0.5, "batch_size": 4, "steps": [2, 5]}}, "no batch_size"),
        ({"model": {**TINY["model"], "parametrization": "standard"}}, "leave 'infinite' out"),
        ({"stream": {"kind": "rotated", "tasks": 1}}, "greater than or equal to 2"),
        ({"stream": {"kind": "rotated", "angle": 400}}, "less than 360"),
        ({"stream": {"kind": "braided"}}, "braided"),
        ({"methods": {"ogd": 0}}, "greater than or equal to 1"),
        ({"kernels": ["initial", "initial"]}, "named twice"),
        ({"kernels": ["infinite"], "linearized": True}, "put 'initial' into kernels"),
        ({"stream": {"kind": "teachers", "similarity": 1.5}}, "less than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(changes, words):
    with pytest.raises(StudyError, match=words):
        tiny(**changes)


def test_the_linearized_model_does_what_the_kernel_at_the_start_says():
    """In single precision; of 25 test examples a task none is decided otherwise. The network itself errs."""
    scalars = compute(tiny(linearized=True).cells()[0])["scalars"]
    assert scalars["gap_twin"] == 0
    assert scalars["forgetting_twin"] == pytest.approx(scalars["forgetting_initial_long"], abs=EXACT)
    assert scalars["gap_initial_long"] > 0


def test_regressions_that_are_more_alike_are_forgotten_less():
    data = {"name": "sphere", "n_train": 20, "n_test": 50}
    model = {**TINY["model"], "bias_std": 0.3}
    training = {"fraction_of_critical": 0.5, "steps": [5, 200]}

    def found(similarity):
        stream = {"kind": "teachers", "tasks": 3, "similarity": similarity, "dim": 4}
        problem = tiny(data=data, stream=stream, model=model, training=training, widths=[64])
        assert f"correlation {similarity:g}" in problem.problems[0].describe()
        return compute(problem.cells()[0])["scalars"]

    alike, opposed = found(0.9), found(-0.9)
    assert alike["forgetting_long"] < opposed["forgetting_long"]
    assert min(alike["train_score_long"], opposed["train_score_long"]) > 0.9  # of the variance


def test_streams_that_data_do_not_reach_for_are_refused_before_the_sweep():
    data = {**TINY["data"], "n_train": 5000}
    with pytest.raises(ng.NtkgapError, match="training images"):
        tiny(data=data).check()


def test_the_page_answers_and_shows_everything(runs, tmp_path):
    ng.report(runs, tmp_path / "report.html")
    page = html.unescape((tmp_path / "report.html").read_text())
    for question in QUESTIONS:
        assert question[0].upper() + question[1:] in page or question in page
    study = tiny()
    for claim in study.claims():
        assert claim.title in page
    keys = [claim.key for claim in study.claims()] + [f"figure-{figure.key}" for figure in study.figures()]
    for key in keys:
        section = page.partition(f'id="continual-{key}"')[2].partition("</figure>")[0]
        assert f'data-chart="continual-{key}-1"' in section or "Nothing to draw" in section
    assert page.count('data-chart="') > 3 * page.count("Nothing to draw")


def test_matrices_show_what_was_measured(runs):
    spec = next(f for f in tiny().figures() if isinstance(f, MatrixFigure))
    found = measured_cells(runs)
    figure = matrix_figure(spec, found)
    assert len(figure.axes) == len(spec.matrices) * len(found)
    cells_of_wide = [c for c in found["tiny"] if c.width == 16]
    mean = sum(100 * c.curves["scores_long"][0] for c in cells_of_wide) / len(cells_of_wide)
    titles = [ax.get_title() for ax in figure.axes[: len(spec.matrices)]]
    assert titles[2] == "observed, width 16"
    assert figure.axes[2].texts[0].get_text() == f"{mean:.0f}"


def test_every_preset_is_valid_and_its_verdicts_rest_on_enough():
    for name in ng.ContinualStudy.presets():
        assert ng.ContinualStudy.preset(name).problems
    for problem in ng.ContinualStudy.preset("quick").problems:
        assert len(problem.widths) >= 5
        assert max(problem.widths) >= 50 * min(problem.widths)
        assert len(problem.training.steps) >= 3
    assert len(ng.ContinualStudy.preset("quick").seeds) >= 6


def test_the_first_picture_tells_of_the_first_and_a_middle_stop_and_of_convergence():
    told = [c.key for c in claims([1, 15, 60], [], own_function=False) if c.key.startswith("width") and c.headline]
    assert told == ["width_helps_after_1", "width_helps_after_15", "width_helps_converged"]
