"""A user's own networks, of twelve kinds, through all three studies; failures stay in their cells."""

import math

import numpy as np
import pytest

import ntkgap as ng
from tests.studies.factories import KINDS, fails_at_six, no_width, returns_nan, two_outputs

WIDTHS = [4, 6]
STUDIES = [ng.OptimizationStudy, ng.UncertaintyStudy, ng.ContinualStudy]


def data_for(factory, n=90):
    """Two classes, far enough apart to be learned; regression on two targets for that factory."""
    rng = np.random.default_rng(0)
    classes = np.arange(n) % 6
    x = rng.normal(size=(n, *KINDS[factory])) + 0.6 * np.cos(classes).reshape(-1, *(1,) * len(KINDS[factory]))
    if factory is two_outputs:
        return x, np.stack([x.reshape(n, -1)[:, 0], x.reshape(n, -1).mean(1)], axis=1)
    return x, classes


def study_of(study, factory, **changes):
    """A smoke study of a factory."""
    widths = {} if factory is no_width else {"widths": WIDTHS}
    settings = {"model": factory, "data": data_for(factory), "seeds": 1, "n_train": 12, "n_test": 12}
    return study.preset("smoke", **(settings | widths | changes))


@pytest.mark.filterwarnings("ignore:left out")
@pytest.mark.parametrize("study", STUDIES, ids=lambda s: s.name)
@pytest.mark.parametrize("factory", KINDS, ids=lambda f: f.__name__)
def test_a_factory_goes_through_a_study(study, factory):
    if factory is two_outputs and study is ng.ContinualStudy:
        with pytest.raises(ng.NtkgapError, match="class"):
            study_of(study, factory)
        return
    cells = study_of(study, factory).cells()
    for cell in _narrowest_of_each(cells):
        if factory is returns_nan:
            with pytest.raises(ng.NtkgapError, match=r"finite|NaN"):
                study.compute_cell(cell)
        else:
            result = study.compute_cell(cell)
            assert result["scalars"]
            assert any(math.isfinite(float(v)) for v in result["scalars"].values() if v is not None)
    if factory is fails_at_six:
        failing = next(cell for cell in cells if cell["width"] == 6)
        with pytest.raises(
            ng.NtkgapError, match=r"fails_at_six failed at width 6: ValueError: 6 is not divisible"
        ):
            study.compute_cell(failing)


def _narrowest_of_each(cells):
    return [c for i, c in enumerate(cells) if c["problem"] not in {d["problem"] for d in cells[:i]}]
