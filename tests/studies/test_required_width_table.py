import copy
import math

import numpy as np
import pytest

import ntkgap as ng
from ntkgap.studies.claim import Claim
from ntkgap.studies.optimization import OptimizationStudy
from ntkgap.studies.optimization.required_width import required_width_table, width_found, width_scalar
from ntkgap.studies.verdict import judge
from ntkgap.theory.width_bounds import BOUNDS
from tests.studies.cells import cell
from tests.studies.test_optimization import TINY
from tests.studies.test_verdict import claim, values
from tests.tolerances import EXACT

compute = OptimizationStudy.compute_cell


def test_a_cell_holds_what_the_bounds_ask_for_on_its_training_inputs():
    scalars = compute(copy.deepcopy(TINY))["scalars"]
    train, _ = ng.load_data(TINY["data"]["name"], 6, 7, 0, **TINY["data"]["options"])
    expected = ng.theory.required_width(train.x, depth=TINY["model"]["depth"])
    assert len(expected.bounds) == len(BOUNDS)
    for bound in expected.bounds:
        assert scalars[width_scalar(bound.name)] == pytest.approx(bound.width, rel=EXACT), bound.name


def test_inputs_on_which_the_bounds_say_nothing_are_a_note(tmp_path):
    x = np.random.default_rng(0).normal(size=(7, 5))
    x[3] = 2 * x[1]
    np.savez(tmp_path / "multiples.npz", x=x, y=np.arange(7.0))
    data = {"name": str(tmp_path / "multiples.npz"), "n_train": 6, "n_test": 1, "options": {"scaling": "none"}}
    found = [compute(copy.deepcopy(TINY) | {"data": data, "seed": seed}) for seed in range(6)]
    coinciding = [r for r in found if any("inputs coincide after normalization" in note for note in r["notes"])]
    assert coinciding
    for result in found:
        missing = math.isnan(result["scalars"][width_scalar("Zhang et al. 2019")])
        assert missing == (result in coinciding)


def measured(claim_key, function):
    return judge(claim(key=claim_key), "p", values(function))


def test_the_table_lists_every_bound_and_what_was_found():
    asked = {width_scalar(b.name): 10.0**i for i, b in enumerate(BOUNDS)}
    cells = [cell(w, s, **asked) for w in (16, 64) for s in range(3)]
    cells += [cell(64, 3, **{name: 100 * width for name, width in asked.items()})]
    verdicts = [
        measured("jacobian_stable", lambda w, s: (1 + 0.01 * s) * 80 / w**0.5),
        measured("ngd_rate", lambda w, s: (1 + 0.01 * s) * 10 / w**0.5),
    ]
    table = required_width_table({"p": cells}, verdicts)
    assert [row[0] for row in table.rows[: len(BOUNDS)]] == [b.name for b in BOUNDS]
    assert [row[3] for row in table.rows[:5]] == ["1", "10", "1e2", "1e3", "1e4"]
    assert table.rows[-2][0] == "found: C′ < ½ along the path"
    assert "(extrapolated)" in table.rows[-2][3]
    assert table.rows[-1][3].startswith("256 (fitted law: 10")
    assert all(len(row) == len(table.columns) == 4 for row in table.rows)


def test_one_seed_without_an_answer_leaves_the_median_open():
    asked = {width_scalar(b.name): math.nan for b in BOUNDS}
    cells = [cell(16, 0, **asked), cell(16, 1, **dict.fromkeys(asked, 3.0))]
    verdicts = [measured(key, lambda w, s: 0.5) for key in ("jacobian_stable", "ngd_rate")]
    assert required_width_table({"p": cells}, verdicts).rows[0][3] == "inconclusive"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda w, s: 0.5, "16 or less"),
        (lambda w, s: 2.0 if w < 20 else (1 + 0.01 * s) * 4 / w**0.5, "64"),
        (
            lambda w, s: (1 + 0.01 * s) * 120 / w**0.5,
            "more than 1024: it may be more than 10 times the largest width",
        ),
        (
            lambda w, s: 2.0 + s / 10,
            "more than 1024: the measurements do not clearly fall with width (exponent 0.00 [0.00, 0.00])",
        ),
        (lambda w, s: 0.8 + 0.1 * s, "inconclusive up to 1024"),
        (lambda w, s: math.nan, "inconclusive up to 1024"),
    ],
)
def test_the_width_found_is_never_more_than_was_measured(function, words):
    toy: Claim = claim()
    assert width_found(judge(toy, "p", values(function))) == words


def test_an_extrapolated_width_comes_with_its_interval():
    words = width_found(judge(claim(), "p", values(lambda w, s: (1 + 0.01 * s) * 80 / w**0.5)))
    assert words.startswith("66")
    assert words.endswith("] (extrapolated)")
