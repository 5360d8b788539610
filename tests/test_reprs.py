"""Public objects show themselves in a line: no tensors, no addresses."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap import bandits, names
from ntkgap.one_line import MOST, line_of
from ntkgap.studies import assess, assess_variations
from tests.here import Here
from tests.test_results import PROBLEM

X, Y = torch.linspace(-1, 1, 12).reshape(6, 2).double(), torch.linspace(0, 1, 6).reshape(6, 1).double()
DATA = ng.Dataset(X, Y)
CLASSES = ng.Dataset(X, torch.eye(2).repeat(3, 1).double(), n_classes=2)


def build(width):
    return ng.MLP(2, 1, width=width, depth=1).double()


def net():
    torch.manual_seed(0)
    return build(8)


def gram():
    return ng.as_matrix(ng.empirical_ntk(net(), X))


def curve():
    return ng.optimizers.natural_gradient_descent(net(), DATA, steps=1, learning_rate=0.5, damping=1e-3)


def monitor():
    return ng.Monitor(net(), X, Y)


def dynamics():
    return ng.KernelDynamics(gram(), net()(X).detach() - Y)


def classifier():
    return ng.theory.GaussianProcessClassifier(gram(), CLASSES.y)


def study():
    return ng.OptimizationStudy(seeds=[0, 1], problems=[PROBLEM])


def wheel():
    return bandits.wheel_environment(ng.load_data("wheel", 10, 10, 0)[0])


def stream():
    return ng.continual.load_stream("rotated", tasks=6, n_train=20, n_test=10, data="digits")


MADE = {
    "AccuracyMatrix": lambda: ng.continual.AccuracyMatrix([[0.9, 0.5], [0.6, 0.8]]),
    "BaseProblem": lambda: study().problems[0],
    "Calibration": lambda: ng.practice.calibration(torch.zeros(6, 1), torch.ones(6, 1), Y.float()),
    "Claim": lambda: study().claims()[0],
    "ClassPosterior": lambda: classifier().predict(gram(), gram()),
    "CoordinateCheck": lambda: ng.practice.coordinate_check(
        build, DATA, widths=[4, 8], steps=1, learning_rate=0.01
    ),
    "CurveFigure": lambda: next(f for f in study().figures() if isinstance(f, ng.studies.CurveFigure)),
    "Dataset": lambda: DATA,
    "EWC": lambda: ng.continual.EWC(1.0),
    "Environment": wheel,
    "Epochs": lambda: ng.continual.Epochs(3),
    "Evidence": lambda: ng.linalg.Evidence(gram(), Y),
    "BanditRun": lambda: bandits.play(wheel(), bandits.UniformPolicy(5)),
    "ClassCalibration": lambda: ng.practice.classification_calibration(
        torch.full((6, 2), 0.5), torch.zeros(6).long()
    ),
    "Decision": lambda: bandits.UniformPolicy(5).decide(torch.zeros(2), torch.zeros(5, 2)),
    "EvidenceMaximum": lambda: ng.linalg.Evidence(gram(), Y).maximum(),
    "Policy": lambda: bandits.UniformPolicy(5),
    "PredictedScores": lambda: ng.continual.predict_tasks(
        ng.MLP(64, 10, 8, 1), stream(), learning_rate=0.01, steps=[1, 2]
    ),
    "TaskRuns": lambda: ng.continual.train_tasks(
        [ng.MLP(64, 10, 8, 1)], stream(), learning_rate=0.01, stop=ng.continual.Steps(1)
    ),
    "Tuning": lambda: ng.optimizers.tune(
        lambda learning_rate: ng.train(net(), DATA, steps=1, learning_rate=learning_rate), {"learning_rate": [0.1]}
    ),
    "Findings": lambda: ng.studies.Findings({"a": 1.0}, {"b": [1.0] * 50}),
    "FunctionSpaceTraining": lambda: dynamics().train(Y, learning_rate=0.01, steps=2),
    "Gaussian": lambda: ng.GaussianProcess(gram(), Y, 0.1).predict(gram(), gram()),
    "GaussianProcess": lambda: ng.GaussianProcess(gram(), Y, 0.1),
    "GaussianProcessClassifier": classifier,
    "InfiniteEnsemble": lambda: ng.InfiniteEnsemble(gram(), gram(), Y),
    "Initialization": lambda: ng.models.Initialization(1.0, 1.0),
    "JacobianChange": lambda: ng.kernels.JacobianChange(net(), build(8), X),
    "JacobianSearch": lambda: ng.optimizers.search_jacobian_change(net(), X, radius=0.1, steps=2, starts=1),
    "Joint": lambda: ng.continual.Joint(),
    "KernelChange": lambda: ng.kernels.KernelChange(net(), build(8), X),
    "KernelDynamics": dynamics,
    "KernelTime": lambda: ng.continual.KernelTime(1.0),
    "LaplacePrediction": lambda: ng.LinearizedLaplace(net(), DATA).predict(X),
    "LinearizedLaplace": lambda: ng.LinearizedLaplace(net(), DATA),
    "Monitor": monitor,
    "NTKOperator": lambda: ng.NTKOperator(net(), X),
    "OGD": lambda: ng.continual.OGD(),
    "OnlineLaplace": lambda: ng.practice.online_laplace(net(), DATA, steps=2, learning_rate=0.01),
    "PCAOGD": lambda: ng.continual.PCAOGD(),
    "Plan": lambda: ng.plan_ntk(net(), X),
    "RandomizedPriorEnsemble": lambda: ng.theory.RandomizedPriorEnsemble(gram(), gram(), Y, 0.1),
    "Replay": lambda: ng.continual.Replay(4),
    "RequiredWidth": lambda: ng.theory.required_width(gram(), depth=1),
    "SequentialRegression": lambda: ng.continual.SequentialRegression(torch.zeros(6, 1)),
    "Spectrum": lambda: ng.spectrum(gram()),
    "Steps": lambda: ng.continual.Steps(3),
    "Study": study,
    "Table": lambda: ng.studies.Table("key", "title " * 30, "caption", ("a", "b"), (("1", "2"),) * 9),
    "Task": lambda: stream().tasks[1],
    "TaskStream": stream,
    "TrainedEnsemble": lambda: ng.train_ensemble(
        lambda member: net(), DATA, members=2, inputs=X, steps=1, learning_rate=0.01
    ),
    "TrainingCurve": lambda: ng.train(net(), DATA, steps=2, learning_rate=0.01),
    "NaturalGradientCurve": curve,
    "UntilAccuracy": lambda: ng.continual.UntilAccuracy(0.9),
    "WidthFigure": lambda: next(f for f in study().figures() if isinstance(f, ng.studies.WidthFigure)),
    "compare_checkpoints": lambda: ng.compare_checkpoints(net(), build(8), X),
    "infinite_width": lambda: ng.infinite_width(net()),
    "infinite_width_monte_carlo": lambda: ng.infinite_width_monte_carlo(build, width=16, draws=2),
}

# Networks show their layers, as all of torch do; base classes and errors have no instances of their own; runs and
# diagnoses are below; an engine starts processes.
ELSEWHERE = {"BaseStudy", "DaskEngine", "Diagnosis", "NtkgapError", "Runs"}
SHOWN = {"ContinualStudy", "DiagnosisStudy", "OptimizationStudy", "UncertaintyStudy"}  # as Study


@pytest.mark.parametrize("name", MADE)
@pytest.mark.filterwarnings("ignore::ntkgap.errors.AccuracyWarning")
def test_it_fits_a_line(name):
    in_a_line(MADE[name]())


def in_a_line(made):
    text = repr(made)
    assert len(text) <= MOST
    assert "\n" not in text
    assert "0x" not in text
    assert "tensor(" not in text


def test_every_public_class_is_looked_at():
    public = {name: getattr(ng, name) for name in ng.__all__}
    public |= {name: getattr(getattr(ng, topic), name) for name, topic in names.MOVED.items()}
    classes = {
        name for name, found in public.items() if isinstance(found, type) and not issubclass(found, nn.Module)
    }
    assert classes - ELSEWHERE - SHOWN <= set(MADE)


def test_results_fit_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = ng.run(study(), "store", engine=Here(), progress=False)
    in_a_line(runs)
    for verdict in (*assess(runs), *assess_variations(runs)):
        in_a_line(verdict)
        for part in verdict.widths if hasattr(verdict, "widths") else verdict.results.values():
            in_a_line(part)


def test_what_has_no_room_is_left_out():
    class Thing:
        pass

    assert line_of(Thing(), "a", b=torch.zeros(2, 3), c=1.23456) == "Thing(a, b=[2, 3], c=1.235)"
    assert line_of(Thing(), "a" * 60, "b" * 60, c=1) == f"Thing({'a' * 60}, …)"
    assert line_of(Thing(), few=[1, 2], many=[0.5] * 9, entries={"a": 1}, none=None, build=build, net=net()) == (
        "Thing(few=[1, 2], many=9 values, entries=1 entry, none=None, build=build, net=MLP)"
    )
