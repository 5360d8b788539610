"""One cell of an ensemble problem: members of one width trained together, beside what theory predicts of them."""

import numpy as np
import torch
from torch import nn

from ntkgap.models import learning_rate_factor
from ntkgap.practice import train_ensemble
from ntkgap.studies.findings import Findings
from ntkgap.studies.uncertainty.ensembles.prediction import predict
from ntkgap.studies.uncertainty.ensembles.problem import EnsembleProblem
from ntkgap.theory import ensemble_errors


def compute_ensemble(problem: EnsembleProblem, width: int, seed: int) -> Findings:
    """Train an ensemble of a width, and compare it with theory."""
    findings = Findings()
    prediction = predict(problem, seed)
    data = prediction.train.to(torch.float32)

    def member(i: int) -> nn.Module:
        # One stream a (seed, width, member): networks of different widths are independent draws.
        stream = int(np.random.SeedSequence([seed, width, i]).generate_state(1)[0])
        return problem.model.build(data, width, torch.Generator().manual_seed(stream))

    trained = train_ensemble(
        member,
        data,
        problem.members,
        learning_rate=prediction.learning_rate / learning_rate_factor(member(0)),
        steps=prediction.steps[-1],
        inputs=prediction.test.x.float(),
        observe_at=prediction.steps,
    )
    errors = ensemble_errors(trained.outputs, prediction.ensemble)
    findings.scalars |= {
        "ensemble_mean_error": float(errors.mean[-1]),
        "ensemble_mean_floor": float(prediction.floor.mean[-1]),
    }
    return findings
