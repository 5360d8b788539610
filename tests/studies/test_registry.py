"""Studies of others: found by place or entry point, run from one file, and held to what they measure."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import ntkgap as ng
from ntkgap.reporting import report
from ntkgap.studies import assess, registry, study_names
from ntkgap.studies.assess import study_of
from ntkgap.studies.registry import find_study, known_study

EXAMPLE = Path(__file__).parents[2] / "examples/my_study.py"


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch):
    monkeypatch.setattr(registry, "_GIVEN", {})


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the example, changed, under a name; gives its place."""
    monkeypatch.chdir(tmp_path)

    def write(name, *changes):
        text = EXAMPLE.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / name).write_text(text)
        return f"{name}:TwoDraws"

    return write


def test_the_example_runs_end_to_end(tmp_path):
    study = find_study(f"{EXAMPLE}:TwoDraws").preset("small", widths=[4, 8], seeds=2)
    runs = ng.run(study, tmp_path / "draws", workers=1, progress=False)
    assert runs.failures() == []
    (verdict,) = assess(runs)
    assert (verdict.claim.key, verdict.problem) == ("same_kernel", "MLP, digits")
    page = report([runs], tmp_path / "report.html").read_text()
    assert "Two draws start with the same kernel" in page
    assert "two_draws" in study_names()
    registry._GIVEN.clear()
    with pytest.raises(ng.NtkgapError, match=r"unknown study 'two_draws'.*as --study"):
        study_of(ng.Runs(tmp_path / "draws"))


def cells(study, tmp_path):
    """Store the findings of one cell without workers."""
    from tests.studies.test_variations import measure

    measure(study.preset("small", widths=[4], seeds=1), tmp_path / "store")
    return ng.Runs(tmp_path / "store")


def test_a_claim_about_what_nobody_measures_is_an_error(write, tmp_path):
    study = find_study(write("typo.py", ('quantity="kernel_difference"', 'quantity="kernel_diference"')))
    with pytest.raises(ng.NtkgapError, match=r"claim 'same_kernel' .* 'kernel_diference', which no cell of 'MLP"):
        assess(cells(study, tmp_path))


def test_a_claim_that_is_optional_may_lack_its_quantity(write, tmp_path):
    place = write("typo.py", ('quantity="kernel_difference"', 'quantity="other", optional=True'))
    assert assess(cells(find_study(place), tmp_path)) == []


def test_an_installed_study_is_found_by_its_entry_point(monkeypatch, tmp_path):
    (tmp_path / "installed_study.py").write_text(EXAMPLE.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint("two_draws", "installed_study:TwoDraws", registry.GROUP),
        EntryPoint("broken", "no_such_module:Study", registry.GROUP),
        EntryPoint("no_study", "pathlib:Path", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])
    registry._installed.cache_clear()
    try:
        ours = ["optimization", "uncertainty", "continual", "diagnosis"]
        assert study_names() == [*ours, "two_draws", "broken", "no_study"]
        study = find_study("two_draws")
        assert study.compute == "installed_study:TwoDraws.compute_cell"
        assert known_study("two_draws") is study
        with pytest.raises(ng.NtkgapError, match=r"'broken' of no_such_module:Study cannot be loaded: Module"):
            find_study("broken")
        with pytest.raises(ng.NtkgapError, match="no_study is no study but type; a study is a subclass of"):
            find_study("no_study")
        with pytest.raises(ng.NtkgapError, match="calls itself 'two_draws', as another study does"):
            find_study(f"{EXAMPLE}:TwoDraws")
    finally:
        registry._installed.cache_clear()


def test_two_studies_of_one_name(write):
    first, second = write("first.py"), write("second.py")
    found = find_study(first)
    with pytest.raises(
        ng.NtkgapError, match=r"second.py:TwoDraws calls itself 'two_draws', as another study does"
    ):
        find_study(second)
    assert find_study("two_draws") is found
    write("first.py", ("below", "above"))  # the same file with another text takes its own place
    assert find_study(first) is find_study("two_draws") is not found
    ours = write("ours.py", ('"two_draws"', '"continual"'))
    with pytest.raises(ng.NtkgapError, match="calls itself 'continual', as another study does; give it another"):
        find_study(ours)


def test_a_name_with_a_dot_is_no_package(write):
    assert find_study(write("my.study.py")).presets() == {"small": "An MLP on digits at four widths - seconds."}


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("gone.py:Study", "there is no file .*gone.py"),
        ("typo.py:Draws", "typo.py:Draws is no study but nothing"),
        ("typo.py:np", "typo.py:np is no study but module"),
        ("typo.py:", "is no study but nothing"),
        ("nowhere:Study", "cannot import 'nowhere'"),
        ("typo.py", "unknown study 'typo.py'; choose one of optimization"),
        ("astrology", "unknown study 'astrology'; choose one of optimization, uncertainty, continual"),
        ("ntkgap:BaseStudy", "needs a name, one word"),
    ],
)
def test_places_without_a_study(place, words, write):
    write("typo.py")
    with pytest.raises(ng.NtkgapError, match=words):
        find_study(place)


def test_ours_may_be_named_by_their_place():
    assert find_study("ntkgap:OptimizationStudy") is ng.OptimizationStudy


def test_a_study_of_a_script_is_refused_before_a_store_is_made(tmp_path):
    namespace = {"__name__": "__main__"}
    exec(compile(EXAMPLE.read_text(), "<string>", "exec"), namespace)
    study = namespace["TwoDraws"].preset("small", widths=[4], seeds=1)
    with pytest.raises(ng.NtkgapError, match=r"'two_draws' is defined in a script or notebook, .*find_study"):
        ng.run(study, tmp_path / "draws", workers=1, progress=False)
    assert not (tmp_path / "draws").exists()
