"""Results in Python: the table of verdicts, figures by name, and how results show themselves."""

import math
import re
from pathlib import Path

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
            assert row.state == result.state
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
    assert "optimizers_steps" not in names
    for name in names:
        assert isinstance(runs.plot(name), Figure)
    with pytest.warns(DeprecationWarning, match="'linearised_twin' is now 'linearized_model'"):
        assert isinstance(runs.plot("linearised_twin"), Figure)
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
    study = ng.OptimizationStudy(seeds=[0], problems=[PROBLEM])
    runs = planned(study, tmp_path)
    assert "3 pending" in repr(runs)
    assert runs.verdicts().empty
    assert "3 pending" in runs._repr_html_()


def test_runs_are_compared_by_their_verdicts(runs, tmp_path):
    same = ng.compare_runs(runs, runs.path)
    assert not same.changed.any()
    assert not same.why.any()
    assert len(same) == len(runs.verdicts())
    other = {**PROBLEM, "natural_gradient": {"steps": 30, "learning_rate": 0.1}}
    del other["variations"]
    study = ng.OptimizationStudy(seeds=[*range(6)], problems=[other])
    more = ng.run(study, tmp_path / "more", engine=Here(), progress=False)
    both = ng.compare_runs(runs, more)
    changed = both[both.changed]
    assert list(both.changed) == sorted(both.changed, reverse=True)
    alone = both.axis == "data.n_train"
    assert set(both[alone].why) == {"judged in a alone"}
    row = both[(both.claim == "kernel_constant") & (both["at"] == "16") & ~alone].iloc[0]
    assert (row.seeds_a, row.seeds_b) == (2, 6)
    for why in changed[changed.axis == "width"].why:
        assert "natural_gradient.learning_rate 0.5 → 0.1" in why
        assert "2 → 6 seeds" in why
    assert len(changed[changed.axis == "width"])


def test_runs_of_two_studies_are_not_compared(runs, tmp_path):
    with pytest.raises(StoreError, match="no ntkgap store"):
        ng.compare_runs(runs, tmp_path)
    smoke = ng.ContinualStudy.preset("smoke", seeds=1)
    other = planned(smoke.model_copy(update={"problems": smoke.problems[:1]}), tmp_path / "c")
    with pytest.raises(StoreError, match="of the study 'optimization'"):
        ng.compare_runs(runs, other)


def planned(study, path):
    """A store of which no cell is computed: its run is interrupted as it begins."""
    with pytest.raises(KeyboardInterrupt):
        ng.run(study, path, engine=Interrupted(), progress=False)
    return ng.Runs(path)


class Interrupted:
    def run(self, tasks):
        raise KeyboardInterrupt


def test_the_command_line_compares(runs, capsys, monkeypatch):
    from ntkgap import cli

    monkeypatch.setattr("sys.argv", ["ntkgap", "compare", str(runs.path), str(runs.path)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "verdicts differ" in capsys.readouterr().out


def test_warnings_of_a_run_point_at_the_caller(runs, tmp_path):
    ng.run(ng.OptimizationStudy(seeds=[0], problems=[PROBLEM]), tmp_path, engine=Here(), progress=False)
    other = {**PROBLEM, "natural_gradient": {"steps": 3}}
    with pytest.warns(ng.errors.StudyWarning, match="another natural_gradient") as told:
        ng.run(ng.OptimizationStudy(seeds=[0], problems=[other]), tmp_path, engine=Here(), progress=False)
    assert told[0].filename == __file__


def test_every_column_is_documented(runs):
    page = (Path(__file__).parents[1] / "docs/how_to/results_in_python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    assert set(runs.verdicts()) <= named
    plain = {"problem", "width", "seed", "variation", "state", "seconds", "notes"}
    assert plain <= named & set(runs.to_pandas())
