"""One cell of an ensemble problem: members of one width trained together, beside what theory predicts of them."""

import math
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ntkgap.data import toy_angle, toy_function
from ntkgap.errors import AccuracyWarning, DivergenceError
from ntkgap.kernels.memory import free_memory
from ntkgap.models import learning_rate_factor
from ntkgap.models.devices import in_float64
from ntkgap.practice import LinearizedLaplace, train, train_ensemble
from ntkgap.studies.cost import network_sizes
from ntkgap.studies.device import moved, present
from ntkgap.studies.findings import Findings
from ntkgap.studies.model import OwnModel, notes_on
from ntkgap.studies.uncertainty.ensembles.comparison import OF_LIMIT
from ntkgap.studies.uncertainty.ensembles.methods import SCORES, Predictive, add_band, score, score_diverged
from ntkgap.studies.uncertainty.ensembles.prediction import PRECISION_BOUNDS, Prediction, noise_bounds, predict
from ntkgap.studies.uncertainty.ensembles.problem import EnsembleProblem

# Members are trained so many at once that what a step touches takes about this many bytes: more would leave the
# cache, fewer would wait for Python.
TOGETHER_BYTES = 12e6  # of a CPU; on a GPU a quarter of its memory

NOT_PREDICTED = "theory's ensemble is of gradient descent on the squared loss, and yours is trained in its own way"

# Members whose loss is so many times that of the start are on their way out of the finite numbers.
DIVERGED = 1e6


def measure(problem: EnsembleProblem, width: int, seed: int) -> Findings:
    """Train the ensembles of a width, compare them with theory, and score every method on test targets."""
    findings = Findings()
    prediction = predict(problem, width, seed)
    findings.notes += prediction.notes
    networks = Networks(problem, prediction, width, seed)
    findings.notes += notes_on(networks.member(0))
    deep = networks.ensemble("deep ensemble", findings)
    if prediction.comparison is None:
        of_theory = ("nngp", "nngp_evidence", "infinite_ensemble", "infinite_prior")
        findings.leave_out(prediction.no_limit, *OF_LIMIT, *(f"{m}_{s}" for m in of_theory for s in SCORES))
    elif problem.train is not None:
        findings.leave_out(NOT_PREDICTED, *OF_LIMIT)
    else:
        prediction.comparison.record(deep, findings)
    if problem.train is None:
        findings.curves["ensemble_steps"] = [float(step) for step in problem.training.observed_steps]

    anchored = networks.ensemble("randomized-prior ensemble", findings, anchoring=prediction.noise_variance)
    methods: dict[str, Predictive | None] = {
        **prediction.methods,
        "deep_ensemble": networks.moments(deep),
        "prior_ensemble": networks.moments(anchored),
        **networks.laplace(findings),
    }
    for name, predictive in methods.items():
        if predictive is None:
            score_diverged(name, findings)
            continue
        score(name, predictive, prediction.test, findings)
        if problem.data.name == "toy":
            add_band(name, predictive, findings)
    if problem.data.name == "toy":
        add_data(prediction, findings)
    compare_methods(findings, "ntk_gp_evidence", "laplace_evidence")
    findings.scalars |= {"n_parameters": networks.parameters, "noise_variance": prediction.noise_variance}
    return findings


class Networks:
    """The networks of one width and seed, and how they are trained.

    Attributes:
        parameters: of one network, P.
        activations: of hidden layers on the training set.
    """

    def __init__(self, problem: EnsembleProblem, prediction: Prediction, width: int, seed: int) -> None:
        self.problem, self.prediction, self.width, self.seed = problem, prediction, width, seed
        self.data = moved(prediction.train.to(torch.float32))
        first = self.member(0)
        self.factor = learning_rate_factor(first)
        self.parameters = sum(p.numel() for p in first.parameters())
        if isinstance(problem.model, OwnModel):
            self.activations = len(self.data) * network_sizes(first, self.data.x)[1]
        else:
            self.activations = len(self.data) * width * problem.model.depth

    def member(self, i: int) -> nn.Module:
        """Member i, as it starts: one stream a (seed, width, member), so that all networks are independent."""
        return self.problem.network(self.data, self.width, self._generator(i))

    def ensemble(self, what: str, findings: Findings, anchoring: float = 0.0) -> Tensor | None:
        """Outputs of trained members at the observed steps, [M, T, k, C]; None if they diverged.

        A deep ensemble that a user trains is observed at its start and end alone.

        Args:
            what: the ensemble's name, for remarks.
            findings: where it is noted if members diverge.
            anchoring: σ² of a randomized-prior ensemble, which is also the variance that its targets get.
        """
        members = self.problem.members
        noise = torch.randn(members, *self.data.y.shape, generator=self._generator(members))
        try:
            trained = train_ensemble(
                self.member,
                self.data,
                members,
                inputs=moved(self.prediction.test.x.float()),
                targets=self.data.y + math.sqrt(anchoring) * noise.to(self.data.y),
                together=members_together(self.parameters, self.activations),
                **self._training(anchoring),
            )
        except DivergenceError as error:
            findings.add_divergence(f"{what}: {error}")
            return None
        start = self.prediction.expected_initial_loss if trained.steps[0] else trained.losses[:, 0].abs()
        if lost := int((trained.losses[:, -1] > DIVERGED * start).sum()):
            findings.add_divergence(
                f"{what}: {lost} members have diverged; their loss exceeds a million initial ones"
            )
            return None
        return trained.outputs

    def moments(self, outputs: Tensor | None) -> Predictive | None:
        """Mean and standard deviation of the members at the last step, every output on its own."""
        if outputs is None:
            return None
        last = in_float64(outputs[:, -1])
        return Predictive(last.mean(dim=0), last.std(dim=0), self.prediction.noise_variance)

    def laplace(self, findings: Findings) -> dict[str, Predictive | None]:
        """Linearized Laplace at the first member, with fixed and with fitted hyperparameters."""
        network = in_float64(self.member(0))
        data, test = self.prediction.train, self.prediction.test
        own = self.problem.train
        settings = {"learning_rate": self._rate(0.0), "steps": self.problem.training.steps}
        order = self._generator(self.problem.members + 1)
        curve = train(network, data, generator=order, **(own.settings(self.factor) if own else settings))
        findings.add_stop("network of the Laplace approximation", curve)
        if curve.stopped:
            return {"laplace": None, "laplace_evidence": None}
        # Members are trained on the squared loss, on classes too.
        fixed = LinearizedLaplace(
            network, data, likelihood="gaussian", noise_variance=self.prediction.noise_variance
        )
        fitted = fixed.fit_evidence(bounds=(PRECISION_BOUNDS, noise_bounds(data)))
        if fitted.maximum is not None and fitted.maximum.at_edge:
            findings.notes.append("the evidence of the Laplace approximation is greatest at the bounds")
        findings.scalars |= {
            "laplace_evidence_prior_precision": fitted.prior_precision,
            "laplace_evidence_noise_variance": noise_of(fitted),
        }
        found: dict[str, Predictive | None] = {}
        for name, laplace in (("laplace", fixed), ("laplace_evidence", fitted)):
            with warnings.catch_warnings():
                # The mean is the network's on purpose, trained as the ensemble is: not to the mode.
                warnings.filterwarnings("ignore", "the network is not at the mode", AccuracyWarning)
                said = laplace.predict(test.x)
            found[name] = Predictive(said.network_mean, said.std, noise_of(laplace))
        return found

    def _training(self, anchoring: float) -> dict[str, Any]:
        """How members are trained, as ``train_ensemble`` takes it: a user's way, unless they are anchored."""
        own, training = self.problem.train, self.problem.training
        if own is None or anchoring:
            rate, steps = self._rate(anchoring), training.steps
            return {
                "learning_rate": rate,
                "steps": steps,
                "observe_at": training.observed_steps,
                "anchoring": anchoring,
            }
        orders = np.random.SeedSequence([self.seed, self.width]).generate_state(self.problem.members)
        settings = own.settings(self.factor)
        return {**settings, "observe_at": [0, settings["steps"] or 1], "seeds": orders.tolist()}

    def _rate(self, anchoring: float) -> float:
        """η below the critical rate of Θ + λI."""
        largest = self.prediction.largest_eigenvalue + anchoring
        return self.problem.training.fraction_of_critical * 2 / largest / self.factor

    def _generator(self, i: int) -> torch.Generator:
        stream = int(np.random.SeedSequence([self.seed, self.width, i]).generate_state(1)[0])
        return torch.Generator().manual_seed(stream)


def noise_of(laplace: LinearizedLaplace) -> float:
    """σ², the same for all outputs."""
    assert isinstance(laplace.noise_variance, float)
    return laplace.noise_variance


def add_data(prediction: Prediction, findings: Findings) -> None:
    """Keep the toy problem's data, to be drawn below the bands."""
    angle = toy_angle(prediction.test.x)
    findings.curves |= {
        "band_x": angle.tolist(),
        "band_truth": toy_function(angle).tolist(),
        "band_train_x": toy_angle(prediction.train.x).tolist(),
        "band_train_y": prediction.train.y[:, 0].tolist(),
    }


def compare_methods(findings: Findings, *names: str) -> None:
    """Differences from the deep ensemble's scores, which claims are about."""
    number = findings.number
    for name in names:
        findings.scalars |= {
            f"{name}_nll_excess": difference(number(f"{name}_nll"), number("deep_ensemble_nll")),
            f"{name}_crps_ratio": ratio(number(f"{name}_crps"), number("deep_ensemble_crps")),
        }


def difference(a: float, b: float) -> float:
    """A − b; NaN where both are infinite."""
    return a - b if math.isfinite(a) or math.isfinite(b) else math.nan


def ratio(a: float, b: float) -> float:
    """a/b; NaN where both are infinite."""
    return a / b if math.isfinite(a) or math.isfinite(b) else math.nan


def members_together(parameters: int, activations: int) -> int:
    """How many members are trained at once; what a step touches are parameters, gradients and activations."""
    room = TOGETHER_BYTES if present().type == "cpu" else free_memory(present()) / 4
    return max(1, int(room / (4 * (3 * parameters + 4 * activations))))
