"""The page of the uncertainty study: answers, bands, tables."""

import html

import matplotlib as mpl
import pytest

import ntkgap as ng
from ntkgap.reporting.bands import band_figure
from ntkgap.reporting.records import read_verdicts
from ntkgap.studies import assess
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.figures import BandFigure
from ntkgap.studies.uncertainty.classes.answers import QUESTIONS as OF_CLASSES
from ntkgap.studies.uncertainty.classes.methods import METHODS as CLASSIFIERS
from ntkgap.studies.uncertainty.ensembles.answers import QUESTIONS
from ntkgap.studies.uncertainty.ensembles.methods import METHODS
from tests.here import HereOnce

mpl.use("agg")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    study = ng.UncertaintyStudy.preset("smoke")
    return ng.run(study, tmp_path_factory.mktemp("store"), engine=HereOnce(), progress=False)


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    ng.report(runs, folder / "report.html")
    return folder


def test_the_page_answers_and_shows_everything(folder, runs):
    page = html.unescape((folder / "report.html").read_text())
    for question in (*QUESTIONS, *OF_CLASSES):
        assert question in page
    for label in (*METHODS.values(), *CLASSIFIERS.values()):
        assert label in page
    claims = ng.UncertaintyStudy.preset("smoke").claims()
    for claim in claims:
        assert claim.title in page
    figures = ng.UncertaintyStudy.preset("smoke").figures()
    for key in (*(claim.key for claim in claims), *(f"figure-{figure.key}" for figure in figures)):
        section = page.partition(f'id="uncertainty-{key}"')[2].partition("</figure>")[0]
        # Few members leave the claims about moments inconclusive: they are said to have nothing to show.
        assert f'data-chart="uncertainty-{key}-1"' in section or "Nothing to draw" in section
    assert page.count('data-chart="') > 2 * page.count("Nothing to draw")
    assert {r.claim for r in read_verdicts(folder / "verdicts.json")} == {claim.key for claim in claims}


def test_bands_have_a_column_a_width_and_one_for_infinity(runs):
    cells = measured_cells(runs)
    spec = next(f for f in ng.UncertaintyStudy.preset("smoke").figures() if isinstance(f, BandFigure))
    figure = band_figure(spec, cells)
    assert len(figure.axes) == len(spec.rows) * 3
    assert [ax.get_title() for ax in figure.axes[:3]] == ["width 16", "width 64", "infinite width"]
    # What is drawn is what was measured: the mean of the deep ensemble of seed 0 at the first width.
    first = next(c for c in cells["MLP (1 hidden layer), toy"] if (c.width, c.seed) == (16, 0))
    drawn = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert first.curves["band_deep_ensemble_mean"] in drawn


def test_a_run_of_all_studies_takes_those_that_are_asked_for():
    optimization, uncertainty = ng.OptimizationStudy, ng.UncertaintyStudy
    assert optimization.concerns("smoke")
    assert uncertainty.concerns("smoke")
    assert not uncertainty.concerns("smoke", ["shallow"])
    assert uncertainty.concerns("smoke", ["shallow", "TOY"])
    assert not uncertainty.concerns("loud")


def test_verdicts_are_of_all_kinds(runs):
    assert {v.problem for v in assess(runs)} == {
        "MLP (1 hidden layer), toy",
        "MLP (1 hidden layer), digits",
        "wheel, MLP (1 hidden layer)",
    }
