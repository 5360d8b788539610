"""What a results page needs is copied from a store, and a page reads what was copied."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import ntkgap as ng
from ntkgap.studies import assess
from tests.here import Here
from tests.studies.continual.test_prediction import TINY

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "results"))
import build
import publish
from published import Published

DIGITS = 10.0 ** (1 - publish.DIGITS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    tiny = {**copy.deepcopy(TINY), "widths": [4, 8], "kernels": []}
    study = ng.ContinualStudy.build({"seeds": [0, 1, 2], "problems": [tiny]})
    return ng.run(study, tmp_path_factory.mktemp("store"), engine=Here(), progress=False)


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "continual"
    folder.mkdir()
    publish.publish_tables(runs, folder)
    return folder


def test_the_numbers_are_those_of_the_store(runs, folder):
    published = Published(folder)
    frame = runs.to_pandas()
    for quantity in ("forgetting_long", "train_loss_short"):
        stored = frame[frame["width"] == 8].set_index("seed")[quantity]
        assert np.allclose(published.values(quantity, "tiny", 8), stored.sort_index(), rtol=DIGITS)
    assert published.problems() == ["tiny"]
    assert published.seeds() == 3


def test_verdicts_are_those_of_the_study(runs, folder):
    published = Published(folder)
    for verdict in assess(runs):
        assert published.state(verdict.claim.key, verdict.problem) == verdict.state
        interval = verdict.widths[-1].interval
        if interval is not None and np.isfinite(interval.value):
            judged = published.judged(verdict.claim.key, verdict.problem)
            assert judged.value == pytest.approx(interval.value, rel=DIGITS)


def test_the_preset_is_the_study_that_ran(runs, folder):
    text = (folder / "preset.yaml").read_text(encoding="utf-8")
    assert ng.ContinualStudy.build(yaml.safe_load(text)).configuration() == runs.configuration


def test_curves_are_published_by_their_places(runs, folder):
    published = Published(folder)
    stops = published.setting("training.steps", "tiny")
    for place, part in ((stops[0], "short"), (stops[-1], "long")):
        at = published.spread(published.curve("forgetting", "tiny", 8, place))
        assert at.value == pytest.approx(published.median(f"forgetting_{part}", "tiny", 8), rel=DIGITS, abs=1e-9)
    saved = published.spread(published.curve("drop_total", "tiny", 8, stops[0]))
    assert saved.value == pytest.approx(
        published.judged(f"width_helps_after_{stops[0]}", "tiny").value, rel=DIGITS
    )


def test_the_first_task_is_forgotten_from_its_best_score():
    scores = [0.9, 0.1, 0.2, 0.95, 0.8, 0.1, 0.5, 0.6, 0.9]  # after each of three tasks, on each
    assert publish.first_task_forgetting({"stops": [5.0], "scores_0": scores}) == [pytest.approx(0.45)]


def test_a_page_is_rendered_from_what_was_published(runs, folder):
    template = "{{ median('forgetting_long', 'tiny', 8) | points(1) }} ![forgetting](kernel_constant_long.png)"
    (folder / build.TEMPLATE).write_text(template, encoding="utf-8")
    publish.publish_pictures(runs, folder)
    assert (folder / "kernel_constant_long.png").stat().st_size > 0
    median = Published(folder).median("forgetting_long", "tiny", 8)
    assert build.Page(folder).render().startswith(f"{100 * median:.1f}".replace("-", "−"))
