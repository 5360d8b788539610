"""The constant of a tuned rule: chosen on the other seeds, never on those it is judged on."""

import math

import pytest

from ntkgap.studies.measured import Measured
from ntkgap.studies.uncertainty.bandits.tuned import complete, ratios


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
