import math

import numpy as np
import pytest
from scipy import stats

from ntkgap.studies.optimization.explanation import explain, explanation_table, summary
from tests.studies.cells import cell
from tests.tolerances import EXACT


def cells(c_prime, rate_error):
    """From functions of width and seed."""
    return [
        cell(w, s, c_prime=c_prime(w, s), ngd_rate_error_worst=rate_error(w, s))
        for w in (16, 64, 256, 1024)
        for s in range(5)
    ]


def trend_alone(rng):
    return cells(
        lambda w, s: 8 / w**0.25 * math.exp(0.1 * rng.standard_normal()),
        lambda w, s: 1 / w**0.5 * math.exp(0.3 * rng.standard_normal()),
    )


def test_counts_are_those_of_the_quadrants():
    found = cells(
        lambda w, s: {16: 2.0, 64: 0.5, 256: 0.49, 1024: math.nan}[w], lambda w, s: 0.05 if s else math.inf
    )
    e = explain({"p": found}, 0.1)
    assert (e.unmet, e.unmet_fast, e.unrefuted, e.unrefuted_fast) == (10, 8, 5, 4)
    assert (e.across.n_cells, e.across.n_left_out) == (15, 5)
    assert "not met in 10 of 15 cells; in 8 of those 10 the rate was kept within 10%" in summary(e, 0.1)
    assert (explain({"p": found}, 0.01).unmet_fast, explain({"p": []}, 0.1).unmet) == (0, 0)


def test_a_common_trend_is_no_explanation():
    """Both numbers fall with width and have nothing else in common: not to be told apart across widths."""
    e = explain({"p": trend_alone(np.random.default_rng(0))}, 0.1)
    assert e.across.rho.low > 0.5
    assert e.at_fixed_width.rho.low < 0 < e.at_fixed_width.rho.high
    words = summary(e, 0.1)
    assert "rank the cells alike" in words
    assert "At fixed width no correlation is established" in words


def test_what_goes_together_at_fixed_width_is_said_so():
    rng = np.random.default_rng(1)
    shared = {(w, s): rng.standard_normal() for w in (16, 64, 256, 1024) for s in range(5)}
    found = cells(
        lambda w, s: math.exp(shared[w, s]), lambda w, s: math.exp(2 * shared[w, s] + 0.1 * rng.normal())
    )
    e = explain({"p": found}, 0.1)
    assert e.at_fixed_width.rho.low > 0
    assert "C′ tells something beyond the width" in summary(e, 0.1)
    against = [cell(c.width, c.seed, **(dict(c.scalars) | {"c_prime": 1 / c.scalars["c_prime"]})) for c in found]
    assert summary(explain({"p": against}, 0.1), 0.1).count("larger C′ have the smaller error") == 2


def test_problems_are_ranked_each_by_itself():
    """One problem has the larger C′ and the larger errors throughout; within each there is nothing."""
    rng = np.random.default_rng(2)
    apart = {
        name: cells(lambda w, s, k=k: k * rng.uniform(1, 2), lambda w, s, k=k: k * rng.uniform(1, 2))
        for name, k in (("a", 1), ("b", 100))
    }
    together = explain(apart, 0.1).across
    everything = [c.scalars for found in apart.values() for c in found]
    naive = stats.spearmanr(
        [s["c_prime"] for s in everything], [s["ngd_rate_error_worst"] for s in everything]
    ).statistic
    assert naive > 0.7
    assert together.rho.low < 0 < together.rho.high
    alone = [explain({name: found}, 0.1).across.rho.value for name, found in apart.items()]
    assert together.rho.value == pytest.approx(np.mean(alone), rel=EXACT)


def test_the_table_has_a_row_a_problem_and_one_for_all():
    found = trend_alone(np.random.default_rng(3))
    table = explanation_table({"a": found, "b": found}, 0.1)
    assert [row[0] for row in table.rows] == ["a", "b", "all problems"]
    assert [row[1] for row in table.rows] == ["20", "20", "40"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert [row[0] for row in explanation_table({"a": found}, 0.1).rows] == ["a"]


def test_what_cannot_be_told_is_said():
    few = explanation_table({"a": cells(lambda w, s: 1 / w, lambda w, s: 1 / w)[::5]}, 0.1)  # one seed
    assert few.rows[0][-2] == "1.00 (too few seeds for an interval)"
    assert few.rows[0][-1] == "too few cells"
    nothing = explanation_table({"a": cells(lambda w, s: math.nan, lambda w, s: 0.1)}, 0.1)
    assert nothing.caption.startswith("No cell decides both C′ and the rate.")
    assert nothing.rows[0][1:3] == ("0", "20")


def test_networks_that_differ_in_sign_are_said_one_by_one():
    rng = np.random.default_rng(1)
    shared = {(w, s): rng.standard_normal() for w in (16, 64, 256, 1024) for s in range(5)}
    alike = cells(lambda w, s: math.exp(shared[w, s]), lambda w, s: math.exp(shared[w, s]))
    against = cells(lambda w, s: math.exp(shared[w, s]), lambda w, s: math.exp(-shared[w, s]))
    e = explain({"ConvNet": alike, "MLP": against}, 0.1)
    words = summary(e, 0.1)
    assert words.count("differ in sign and are not pooled (ρ: ConvNet +1.00, MLP -1.00)") == 2
    table = explanation_table({"ConvNet": alike, "MLP": against}, 0.1)
    assert table.rows[0][-1].startswith("1.00 [")
    assert table.rows[1][-1].startswith("-1.00 [")
    assert table.rows[2][-2:] == ("not pooled: signs differ",) * 2
    assert e.across.n_cells == 40
