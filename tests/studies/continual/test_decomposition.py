"""How much of "wide forgets less" is "wide was trained less": curves made by hand, and identities."""

import math

import pytest

from ntkgap.studies.continual.decomposition import complete, drop
from ntkgap.studies.measured import Measured
from tests.tolerances import EXACT

# Forgetting grows by 0.1 for every e-folding of the loss, from nothing at the start.
START, RATE = 1.0, 0.1


def curves(losses, extra=0.0, train_score=1.0):
    forgetting = [-RATE * math.log(loss) + extra for loss in losses]
    return {
        "start_loss": [START] * len(losses),
        "train_loss": list(losses),
        "forgetting": forgetting,
        "train_score": [train_score] * len(losses),
        "stops": [float(i + 1) for i in range(len(losses))],
    }


def cell(width, found, seed=0, **settings):
    return Measured({"width": width, "seed": seed, "problem": "p", **settings}, {}, found, [], False, 0.0)


@pytest.mark.parametrize("wide", [[0.8, 0.3, 0.05], [0.95, 0.7, 0.2]])
def test_networks_on_one_curve_differ_by_their_training_alone(wide):
    """Whichever of the two was trained more: at the same loss they have forgotten the same."""
    narrow = [0.9, 0.5, 0.1]
    for i in (1, 2):
        parts = drop(curves(wide), curves(narrow), i)
        assert parts.total == pytest.approx(-RATE * math.log(narrow[i] / wide[i]), abs=EXACT)
        assert parts.training == pytest.approx(parts.total, abs=EXACT)
        assert parts.matched == pytest.approx(0, abs=EXACT)


def test_what_does_not_come_from_training_is_the_rest():
    """Same losses, 0.03 less forgotten: all of it at matched training."""
    losses = [0.9, 0.5, 0.1]
    for i in range(3):
        parts = drop(curves(losses, extra=-0.03), curves(losses), i)
        assert parts.matched == pytest.approx(0.03, abs=EXACT)
        assert parts.training == pytest.approx(0, abs=EXACT)


def test_parts_add_up_to_the_whole():
    wide, narrow = curves([0.7, 0.2, 0.02], extra=-0.05), curves([0.9, 0.6, 0.3])
    for i in (1, 2):
        parts = drop(wide, narrow, i)
        assert parts.training + parts.matched == pytest.approx(parts.total, abs=EXACT)
        assert math.isfinite(parts.matched)


def test_before_the_first_stop_nothing_is_known():
    """The wide one had the narrow one's loss somewhere between its start and its first stop."""
    parts = drop(curves([0.7, 0.2]), curves([0.9, 0.6]), 0)
    assert parts.total == pytest.approx(-RATE * math.log(0.9 / 0.7))
    assert math.isnan(parts.training)
    assert math.isnan(parts.matched)


def test_what_diverges_has_forgotten_all_and_decides_nothing_else():
    fine, gone = curves([0.9, 0.5]), curves([0.9, 0.5])
    gone["forgetting"][1] = math.inf
    assert drop(gone, fine, 1).total == -math.inf
    assert math.isnan(drop(gone, fine, 1).matched)
    assert math.isnan(drop(fine, gone, 1).total)
    assert drop(fine, gone, 0).total == pytest.approx(0)  # before it diverged
    assert math.isnan(drop(fine, gone, 0).matched)


def test_a_network_that_cannot_learn_the_tasks_is_no_measure_of_width():
    """Of width 4 at the same loss: 0.3 more forgotten, and less learned."""
    cells = [
        cell(4, curves([0.9, 0.1], extra=0.3, train_score=0.8)),
        cell(16, curves([0.9, 0.1])),
        cell(64, curves([0.9, 0.1], extra=-0.02)),
    ]
    found = complete(cells)
    assert not found[1].scalars
    assert found[2].scalars["drop_matched_long"] == pytest.approx(0.02)
    assert found[2].scalars["drop_after_1"] == pytest.approx(0.02)
    untaught = [cell(w, curves([0.9, 0.1], extra=-0.1 * w, train_score=0.8)) for w in (1, 2)]
    beside = complete(untaught)[1].scalars
    assert beside["drop_total_long"] == pytest.approx(0.1)  # then it is the narrowest
    assert math.isnan(beside["drop_matched_long"])
    assert beside["compared_with"] == 1
    assert not beside["compared_learns"]


def test_a_loss_that_rises_again_was_first_reached_before():
    """The wide one had the narrow one's loss of 0.5 between its first stops, not on its way up."""
    wide, narrow = curves([1.0, 0.2, 0.4]), curves([1.0, 0.7, 0.5])
    wide["forgetting"], narrow["forgetting"] = [0.05, 0.1, 0.3], [0.05, 0.1, 0.3]
    then = 0.05 + 0.05 * math.log(1 / 0.5) / math.log(1 / 0.2)
    assert drop(wide, narrow, 2).matched == pytest.approx(0.3 - then, abs=EXACT)
    fast = curves([0.1, 0.5, 0.2])  # had a loss of 0.3 before its first stop
    assert math.isnan(drop(fast, curves([0.9, 0.6, 0.3]), 2).matched)


def test_every_network_is_compared_with_the_narrowest_of_its_own_seed_and_settings():
    cells = [
        cell(4, curves([0.9, 0.1])),
        cell(16, curves([0.9, 0.1], extra=-0.02)),
        cell(4, curves([0.9, 0.1], extra=0.5), seed=1),
        cell(16, curves([0.9, 0.1], extra=0.46), seed=1),
        cell(64, curves([0.9, 0.1], extra=-1.0), depth=3),
    ]
    found = complete(cells)
    assert [c.width for c in found] == [4, 16, 4, 16, 64]
    assert "drop_matched_long" not in found[0].scalars  # the narrowest has nothing to be compared with
    assert "drop_matched_long" not in found[4].scalars  # nor has the only one of its settings
    assert found[1].scalars["drop_matched_long"] == pytest.approx(0.02)
    assert found[3].scalars["drop_matched_long"] == pytest.approx(0.04)
    assert found[3].scalars["drop_total_long"] == found[3].scalars["drop_converged"] == pytest.approx(0.04)


def test_converged_networks_are_compared_with_the_narrowest_that_has_converged():
    cells = [
        cell(4, curves([0.9, 0.5], extra=0.3, train_score=0.9)),
        cell(16, curves([0.9, 0.5])),
        cell(64, curves([0.9, 0.5], extra=-0.02)),
        cell(256, curves([0.9, 0.5], extra=-0.3, train_score=0.7)),
    ]
    found = [c.scalars.get("drop_converged") for c in complete(cells)]
    assert found[:2] == [None, None]  # width 16 is the narrowest that has converged
    assert found[2] == pytest.approx(0.02)
    assert math.isnan(found[3])
    none = [cell(w, curves([0.9, 0.5], train_score=0.5)) for w in (4, 16)]
    assert math.isnan(complete(none)[1].scalars["drop_converged"])


def test_a_width_has_converged_where_all_its_seeds_have():
    """Else seeds of one verdict would be compared with networks of different widths."""
    cells = [
        cell(4, curves([0.9, 0.5])),
        cell(4, curves([0.9, 0.5], train_score=0.9), seed=1),
        cell(16, curves([0.9, 0.5])),
        cell(16, curves([0.9, 0.5]), seed=1),
        cell(64, curves([0.9, 0.5], extra=-0.02)),
        cell(64, curves([0.9, 0.5], extra=-0.04), seed=1),
        cell(4, curves([0.9, 0.5]), seed=2),
        cell(64, curves([0.9, 0.5]), seed=2),  # that of width 16 is not done yet
    ]
    found = [c.scalars.get("drop_converged") for c in complete(cells)]
    assert found[:4] == [None] * 4
    assert found[4:6] == pytest.approx([0.02, 0.04])
    assert found[7] is None
