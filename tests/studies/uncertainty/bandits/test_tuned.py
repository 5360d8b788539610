"""The constant of a tuned rule: chosen on the other seeds, never on those it is judged on."""

import math

import pytest

from ntkgap.studies.measured import Measured
from ntkgap.studies.uncertainty.bandits.claims import claims
from ntkgap.studies.uncertainty.bandits.tuned import choose, complete, ratios
from ntkgap.studies.verdict import judge_width


def game(seed, regrets, width=8, **settings):
    """A cell whose NeuralUCB had these regrets by constant."""
    cell = {"kind": "bandit", "width": width, "seed": seed, "tuned": {"ucb": list(regrets)}, **settings}
    scalars = {f"bandit_ucb_{c:g}_regret": r for c, r in regrets.items()}
    curves = {f"bandit_ucb_{c:g}_regret_curve": [0.0, r] for c, r in regrets.items()}
    return Measured(cell, scalars | {"bandit_theory_regret": 0.6}, curves, [], False, 1.0)


def test_the_constant_is_the_best_of_the_other_seeds_though_not_of_its_own():
    # Seed 0 would choose 1; the two others agree on 0.1.
    cells = [game(0, {0.1: 0.5, 1.0: 0.2}), game(1, {0.1: 0.1, 1.0: 0.8}), game(2, {0.1: 0.2, 1.0: 0.9})]
    found = complete(cells)
    assert [c.scalars["bandit_ucb_constant"] for c in found] == [0.1, 0.1, 0.1]
    assert found[0].scalars["bandit_ucb_regret"] == 0.5
    assert found[0].curves["bandit_ucb_regret_curve"] == [0.0, 0.5]
    assert found[0].scalars["bandit_theory_over_tuned"] == pytest.approx(0.6 / 0.5)


def test_widths_and_settings_choose_for_themselves():
    narrow = [game(s, {0.1: 0.1, 1.0: 0.2}) for s in range(2)]
    wide = [game(s, {0.1: 0.2, 1.0: 0.1}, width=64) for s in range(2)]
    lazy = [game(s, {0.1: 0.4, 1.0: 0.3}, model={"alpha": 10.0}) for s in range(2)]
    constants = [c.scalars["bandit_ucb_constant"] for c in complete([*narrow, *wide, *lazy])]
    assert constants == [0.1, 0.1, 1.0, 1.0, 1.0, 1.0]


def test_a_single_seed_has_no_one_to_ask_and_other_kinds_are_left_alone():
    other = Measured({"kind": "ensemble", "width": 8, "seed": 0}, {"error": 1.0}, {}, [], False, 1.0)
    alone, same = complete([game(0, {0.1: 0.5, 1.0: 0.2}), other])
    assert alone.scalars["bandit_ucb_constant"] == 1.0
    assert same is other


def test_a_constant_that_diverged_for_others_is_not_chosen():
    cells = [game(0, {0.1: 0.5, 1.0: 0.2}), game(1, {0.1: 0.4, 1.0: math.inf})]
    assert complete(cells)[0].scalars["bandit_ucb_constant"] == 0.1


def test_ratios_say_who_lost_more():
    regrets = {"ucb": 0.2, "lin_ucb": 0.4, "ntk_ucb": 0.25, "theory": math.inf, "evidence": 0.1}
    found = ratios({f"bandit_{rule}_regret": value for rule, value in regrets.items()})
    assert found == pytest.approx(
        {
            "bandit_theory_over_tuned": math.inf,
            "bandit_evidence_over_tuned": 0.5,
            "bandit_tuned_over_linear": 0.5,
            "bandit_kernel_gap": 0.2,
        }
    )


def test_of_two_that_diverged_none_lost_more():
    found = ratios({f"bandit_{rule}_regret": math.inf for rule in ("ucb", "theory")})
    assert math.isnan(found["bandit_theory_over_tuned"])


def test_seeds_that_agree_leave_no_doubt_and_seeds_that_do_not_leave_some():
    agreed = choose({0.1: [0.5, 0.6, 0.5, 0.6], 1.0: [0.1, 0.2, 0.1, 0.2], 10.0: [0.9, 0.8, 0.9, 0.7]})
    assert (agreed.best, agreed.contenders, agreed.at_edge) == (1.0, (1.0,), False)
    torn = choose({0.1: [0.1, 0.5, 0.1, 0.6], 1.0: [0.3, 0.25, 0.3, 0.2], 10.0: [0.9, 0.8, 0.9, 0.7]})
    assert (torn.best, torn.contenders) == (1.0, (0.1, 1.0))
    assert choose({0.1: [0.1, 0.1], 1.0: [0.2, 0.2]}).at_edge
    assert not choose({0.1: [0.1, 0.1]}).at_edge


def test_what_is_better_by_the_same_in_every_seed_is_better_however_much_seeds_differ():
    draws = [0.1, 0.9, 0.3, 0.7]
    assert choose({1.0: draws, 2.0: [x + 0.01 for x in draws]}).contenders == (1.0,)


def test_a_single_seed_cannot_tell_chance_so_that_all_constants_contend():
    assert choose({0.1: [0.1], 1.0: [0.9]}).contenders == (0.1, 1.0)


def test_the_share_of_resamples_is_that_of_the_exact_bootstrap():
    # Of 3 seeds drawn with replacement 1.0 is the best unless the third comes twice or more: 7 of 27.
    regrets = {0.1: [1.0, 1.0, 0.0], 1.0: [0.4, 0.4, 0.9]}
    assert choose(regrets).contenders == (0.1, 1.0)
    # Better in one of seven seeds, by so much that four draws of it are needed: 1 % of resamples.
    rarely = {0.1: [1.0] * 6 + [0.0], 1.0: [0.3] * 6 + [0.9]}
    assert choose(rarely).contenders == (1.0,)


def test_the_doubt_about_the_constant_reaches_the_verdict():
    """Seeds are torn between two constants: the interval reaches over what either would have given."""
    claim = next(c for c in claims() if c.key == "schedule_of_theory")
    found = complete([game(s, r) for s, r in enumerate([{0.1: 0.8, 1.0: 0.62}, {0.1: 0.62, 1.0: 0.7}] * 3)])
    name = claim.quantity
    for cell in found:
        low, high = cell.bounds(name)
        assert low <= cell.scalars[name] <= high
    assert any(cell.bounds(name)[0] < cell.bounds(name)[1] for cell in found)
    values = [cell.scalars[name] for cell in found]
    certain = judge_width(claim, 8, values)
    doubtful = judge_width(claim, 8, values, [cell.bounds(name) for cell in found])
    assert doubtful.interval.value == certain.interval.value
    assert doubtful.interval.low <= certain.interval.low
    assert certain.interval.high <= doubtful.interval.high
    assert doubtful.interval.high - doubtful.interval.low > certain.interval.high - certain.interval.low


def test_seeds_that_widened_their_grids_choose_among_what_all_of_them_tried():
    cells = [
        game(0, {0.1: 0.5, 1.0: 0.2, 10.0: 0.1}),
        game(1, {0.1: 0.4, 1.0: 0.3}),
        game(2, {0.1: 0.4, 1.0: 0.3}),
    ]
    for cell in cells:
        cell.curves["bandit_ucb_tried"] = sorted(cell.cell["tuned"]["ucb"])
        cell.cell["tuned"] = {"ucb": [0.1, 1.0]}
    found = complete(cells)
    assert [c.scalars["bandit_ucb_constant"] for c in found] == [1.0] * 3
    assert all("1, is at the edge of those that all seeds tried, 0.1 to 1" in c.notes[-1] for c in found)
    assert all(c.scalars["bandit_ucb_constant_at_edge"] == 1 for c in found)


def test_cells_of_earlier_versions_tried_what_their_configuration_lists():
    assert [
        c.scalars["bandit_ucb_constant"] for c in complete([game(s, {0.1: 0.2, 1.0: 0.3}) for s in (0, 1)])
    ] == [
        0.1,
        0.1,
    ]
