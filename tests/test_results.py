"""Results in Python: the table of verdicts, figures by name, and how results show themselves."""

import math

import pytest
from matplotlib.figure import Figure

import ntkgap as ng
from ntkgap.errors import StoreError
from ntkgap.studies import assess, assess_variations
from tests.here import Here

PROBLEM = {
    "name": "a $b$ <i>c</i>",
    "model": {"architecture": "shallow", "nonlinearity": "relu"},
    "data": {"name": "sphere", "n_train": 6, "n_test": 4, "options": {"dim": 4}},
    "widths": [8, 16],
    "natural_gradient": {"steps": 2},
    "gradient_descent": {"steps": 2},
    "variations": {"width": 8, "axes": {"data.n_train": [4]}},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    study = ng.OptimizationStudy(seeds=[0, 1], problems=[PROBLEM])
    return ng.run(study, tmp_path_factory.mktemp("store"), engine=Here(), progress=False)


def test_verdicts_are_one_row_a_place(runs):
    frame = runs.verdicts()
    expected = ["study", "problem", "claim", "axis", "at", "state", "value", "low", "high", "limit", "seeds"]
    assert list(frame) == expected
    over_width = frame[frame.axis == "width"].set_index(["claim", "at"])
    n_axis = sum(len(v.results) for v in assess_variations(runs))
    assert len(frame) == sum(len(v.widths) for v in assess(runs)) + n_axis
    assert n_axis
    for verdict in assess(runs):
        for result in verdict.widths:
            row = over_width.loc[verdict.claim.key, result.width]
            assert row.state == {"undecided": "inconclusive"}.get(result.state, result.state)
            assert row.limit == verdict.claim.threshold
            assert row.seeds == 2
            found = (row.value, row.low, row.high)
            if result.interval is None:
                assert all(math.isnan(x) for x in found)
            else:
                assert found == (result.interval.value, result.interval.low, result.interval.high)
    assert set(frame[frame.axis == "data.n_train"]["at"]) == {4, 6}
    assert len(runs.assess()) == len(assess(runs)) + len(assess_variations(runs))


def test_figures_by_name(runs):
    names = runs.figures()
    assert "kernel_constant" in names
    assert "ngd_curves" in names
    assert "race_steps" not in names
    for name in names:
        assert isinstance(runs.plot(name), Figure)
    with pytest.raises(StoreError, match=r"nothing to show as 'no'.*kernel_constant"):
        runs.plot("no")


def test_how_results_show_themselves(runs):
    assert repr(runs) == f"Runs(optimization, 6 done, {str(runs.path)!r})"
    page = runs._repr_html_()
    assert "<i>c" not in page
    assert "kernel_constant" in page


def test_results_are_read_again_from_the_store(runs):
    again = ng.Runs(runs.path)
    assert again.verdicts().equals(runs.verdicts())


def test_a_store_without_results_shows_itself(tmp_path):
    class Nobody:
        def run(self, tasks):
            return iter(())

    study = ng.OptimizationStudy(seeds=[0], problems=[PROBLEM])
    runs = ng.run(study, tmp_path, engine=Nobody(), progress=False)
    assert "3 pending" in repr(runs)
    assert runs.verdicts().empty
    assert "3 pending" in runs._repr_html_()
