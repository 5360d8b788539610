"""Diagnoses of small networks, in this process; and verdicts of made-up numbers."""

import ntkgap as ng
from ntkgap.studies.diagnosis import regime_of
from ntkgap.studies.diagnosis.claims import Tolerances, make_claims
from ntkgap.studies.verdict import judge

CLAIMS = {claim.key: claim for claim in make_claims(Tolerances())}


def study(model, widths, seeds=5, train=None, n_train=16, probe=8, **training):
    """A study of one of our networks on digits, by its settings."""
    problem = {
        "name": "MLP, digits",
        "model": {"architecture": "mlp", **model},
        "data": {"name": "digits", "n_train": n_train, "n_test": 12},
        "widths": list(widths),
        "training": {"steps": 60, **training},
        "probe": probe,
    }
    configuration = {"description": "", "seeds": list(range(seeds)), "problems": [problem]}
    if train is not None:
        problem["train"] = train
    return ng.studies.DiagnosisStudy.build(configuration)


def diagnosed(store, *args, **settings):
    """The diagnosis of such a study; the engine is the caller's matter."""
    return ng.reporting.Diagnosis(ng.run(study(*args, **settings), store, workers=1, progress=False))


def regime_from(**numbers):
    """The regime of made-up numbers, ``{width: values of seeds}`` by key of a claim; trained well if not said."""
    widths = numbers["kernel_constant"]
    usual = {
        "learned": 0.9,
        "moved": 0.9,
        "linearization_gap": 0.01,
        "linearization_gap_test": 0.01,
        "stable": 0.1,
    }
    for key, value in usual.items():
        numbers.setdefault(key, {w: [value * (1 + 0.01 * s) for s in range(len(v))] for w, v in widths.items()})
    return regime_of(
        {
            key: judge(CLAIMS[key], "made up", {w: dict(enumerate(values)) for w, values in found.items()})
            for key, found in numbers.items()
        }
    )
