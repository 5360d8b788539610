"""One cell of a classification problem: an ensemble, Laplace around its first member, and the NTK-GP."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Generator, nn

from ntkgap.data import Dataset
from ntkgap.errors import AccuracyWarning, DivergenceError, KernelError, ModelError
from ntkgap.kernels import empirical_ntk
from ntkgap.models import learning_rate_factor
from ntkgap.models.devices import in_float64
from ntkgap.practice import LinearizedLaplace, train, train_ensemble
from ntkgap.studies.device import moved
from ntkgap.studies.findings import Findings
from ntkgap.studies.model import OwnModel, notes_on
from ntkgap.studies.uncertainty.classes.methods import METHODS, score, score_diverged
from ntkgap.studies.uncertainty.classes.problem import ClassificationProblem
from ntkgap.studies.uncertainty.ensembles.measure import difference, ratio
from ntkgap.studies.uncertainty.ensembles.prediction import PRECISION_BOUNDS, Kernel, kernels
from ntkgap.theory import GaussianProcessClassifier, critical_learning_rate

DRAWS = 1000  # of Monte Carlo


def measure(problem: ClassificationProblem, width: int, seed: int) -> Findings:
    """Train the ensemble of a width, and score the class probabilities of every method on test data."""
    findings = Findings()
    data, test = (in_float64(moved(found)) for found in problem.data.load(seed))

    streams = [int(np.random.SeedSequence([seed, width, i]).generate_state(1)[0]) for i in range(problem.members)]

    def member(i: int) -> nn.Module:
        return problem.network(data.to(torch.float32), width, Generator().manual_seed(streams[i]))

    findings.notes += notes_on(member(0))
    ntk = _kernel(problem, in_float64(member(0)), data, test, findings)
    _score_process(ntk, data, test, findings)
    rate = problem.training.fraction_of_critical * float(critical_learning_rate(ntk.train))
    rate /= learning_rate_factor(member(0))
    settings: dict[str, Any] = {"learning_rate": rate, "steps": problem.training.steps, "loss": "cross_entropy"}
    if problem.train is not None:
        settings = problem.train.settings(learning_rate_factor(member(0)))
    try:
        trained = train_ensemble(
            member,
            moved(data.to(torch.float32)),
            problem.members,
            inputs=moved(test.x.float()),
            seeds=streams,
            **settings,
        )
        score("class_ensemble", in_float64(trained.outputs[:, -1]).softmax(dim=2).mean(dim=0), test, findings)
    except DivergenceError as error:
        findings.add_divergence(f"deep ensemble: {error}")
        score_diverged("class_ensemble", findings)

    network = in_float64(member(0))
    curve = train(network, data, generator=Generator().manual_seed(streams[0]), **settings)
    findings.add_stop("network of the Laplace approximation", curve)
    if curve.stopped:
        for name in METHODS:
            if name == "class_network" or name.startswith("class_laplace"):
                score_diverged(name, findings)
    else:
        fixed = LinearizedLaplace(network, data, prior_mean=in_float64(member(0)))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", AccuracyWarning)
            fitted = fixed.fit_evidence()
        findings.notes += [str(warning.message) for warning in said if warning.category is AccuracyWarning]
        _score_laplace(fixed, fitted, test, seed, findings)
    _compare(findings)
    findings.scalars["n_parameters"] = sum(p.numel() for p in network.parameters())
    return findings


def _kernel(
    problem: ClassificationProblem, network: nn.Module, data: Dataset, test: Dataset, findings: Findings
) -> Kernel:
    """The infinite-width NTK; of a user's network without one, the kernel at its start."""
    try:
        return kernels(network, data, test)[0]
    except (KernelError, ModelError) as error:
        if not isinstance(problem.model, OwnModel):
            raise
        findings.notes.append(f"no infinite-width kernel: {error}; the NTK-GP has the network's at its start")
    n, gram = len(data), empirical_ntk(network, torch.cat([data.x, test.x]), outputs="mean")
    return Kernel(gram[:n, :n], gram[n:, :n], gram[n:, n:])


def _score_process(ntk: Kernel, data: Dataset, test: Dataset, findings: Findings) -> None:
    fixed = GaussianProcessClassifier(ntk.train, data.y)
    fitted = fixed.fit_evidence(PRECISION_BOUNDS)
    if fitted.at_edge:
        findings.notes.append("the evidence of the NTK-GP is greatest at the bounds of the prior precision")
    findings.scalars["class_ntk_gp_evidence_prior_precision"] = fitted.prior_precision
    for name, process in (("class_ntk_gp", fixed), ("class_ntk_gp_evidence", fitted)):
        score(name, process.predict(ntk.cross, ntk.test).probabilities(), test, findings)


def _score_laplace(
    fixed: LinearizedLaplace, fitted: LinearizedLaplace, test: Dataset, seed: int, findings: Findings
) -> None:
    """Laplace around a trained network, and the network alone.

    The prior is centered on the network's start: trained without weight decay it keeps what of that no data
    concern, which a prior at 0 would take for learned.
    """
    findings.scalars |= {
        "class_laplace_prior_precision": fitted.prior_precision,
        "class_laplace_distance_to_mode": fitted.distance_to_mode,
    }
    with warnings.catch_warnings():
        # With δ = 1 the network is not at the mode; with that of the evidence the distance is kept.
        warnings.filterwarnings("ignore", "the network is not at the mode", AccuracyWarning)
        plain, said = fixed.predict(test.x), fitted.predict(test.x)
    score("class_network", plain.network_mean.softmax(dim=1), test, findings)
    score("class_laplace", plain.probabilities(), test, findings)
    score("class_laplace_evidence", said.probabilities(), test, findings)
    draws = said.probabilities("monte_carlo", samples=DRAWS, generator=Generator().manual_seed(seed))
    score("class_laplace_monte_carlo", draws, test, findings)
    score("class_laplace_bridge", said.probabilities("bridge"), test, findings)


def _compare(findings: Findings) -> None:
    """Differences of scores that claims are about."""
    number = findings.number
    for name in ("class_laplace_evidence", "class_ntk_gp_evidence"):
        for what in ("nll", "ece"):
            excess = difference(number(f"{name}_{what}"), number(f"class_ensemble_{what}"))
            findings.scalars[f"{name}_{what}_excess"] = excess
    change = ratio(number("class_laplace_evidence_nll"), number("class_network_nll"))
    findings.scalars["class_laplace_evidence_nll_ratio"] = change
