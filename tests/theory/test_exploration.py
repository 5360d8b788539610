"""Exploration schedules against the values and limits that their formulas must have."""

import math
from dataclasses import replace

import pytest

from ntkgap.errors import KernelError
from ntkgap.theory import ConstantExploration, InfiniteWidthExploration, ZhouExploration
from tests.tolerances import EXACT

LIMIT = InfiniteWidthExploration(nu=0.1, delta=0.1, norm_bound=1.0, regularization=1.0)
ZHOU = ZhouExploration(
    width=4096, depth=3, regularization=1.0, learning_rate=1e-5, steps=100, nu=0.1, delta=0.1, norm_bound=1.0
)


def test_at_practical_width_the_bound_is_astronomical():
    terms = ZHOU.terms(1000, 50.0)
    assert ZHOU(1000, 50.0) == pytest.approx(3e11, rel=0.2)
    assert terms["confidence"] == pytest.approx(1e5, rel=0.2)
    assert LIMIT(1000, 50.0) == pytest.approx(1.74, abs=0.005)


def test_terms_make_up_the_whole():
    terms = ZHOU.terms(300, 7.0)
    assert terms["confidence"] == pytest.approx(terms["inflation"] * (terms["noise"] + terms["norm"]), rel=EXACT)
    parts = terms["confidence"] + terms["optimization"] + terms["linearization"]
    assert ZHOU(300, 7.0) == pytest.approx(parts, rel=EXACT)


def test_before_the_first_round_only_the_limit_is_left():
    assert ZHOU(0, 0.0) == pytest.approx(LIMIT(0, 0.0), rel=EXACT)


def test_terms_of_finite_width_vanish():
    # η·m is kept: the same network, wider. The terms fall like m^(-1/6) √log m: beyond any width that exists.
    widths = [10**k for k in (4, 8, 16, 64, 256)]
    found = [replace(ZHOU, width=m, learning_rate=0.5 / m, steps=2000).terms(10, 5.0) for m in widths]
    for name in ("inflation", "noise", "linearization"):
        values = [terms[name] for terms in found]
        assert values == sorted(values, reverse=True)
    widest = replace(ZHOU, width=10**256, learning_rate=0.5 / 10**256, steps=2000)
    assert widest(10, 5.0) == pytest.approx(LIMIT(10, 5.0), rel=EXACT)


def test_a_width_that_nobody_can_build_does_not_bring_the_schedule_to_its_limit():
    """The settings of the wheel in the preset standard, whose factors the claim on the schedule cites.

    S and the determinant are the medians of the published cells at all widths.
    """
    rounds, steps, norm, determinant = 500, 100, 52.9027, 110.926
    limit = InfiniteWidthExploration(nu=0.01, delta=0.1, norm_bound=norm, regularization=1.0)

    def factor(width, steps=steps):
        schedule = ZhouExploration(width, 2, 1.0, 1.0 / rounds / width, steps, 0.01, 0.1, norm)
        return schedule(rounds, determinant) / limit(rounds, determinant)

    # By hand: a of the formula is 0.1·√(6 ln 10) at 10⁶, and what linearizing costs is nearly all of γ_T.
    drift = 1001 * 0.1 * math.sqrt(6 * math.log(10)) * 2**3.5 * 500 ** (5 / 3) * (1 + math.sqrt(500))
    assert factor(10**6) == pytest.approx(drift / limit(rounds, determinant), rel=0.001)
    assert factor(10**6) == pytest.approx(5.8e7, rel=0.01)
    assert factor(10**20) == pytest.approx(5.0e5, rel=0.01)
    assert factor(10**60) == pytest.approx(383, rel=0.01)
    # Training without end leaves what linearizing costs: a fifth at 10⁶⁰, and still five hundred thousand at 10²⁰.
    assert factor(10**60, steps=10**5) == pytest.approx(1.19, abs=0.01)
    assert factor(10**20, steps=10**5) > 4.9e5


def test_training_longer_removes_the_optimization_term():
    values = [replace(ZHOU, steps=j).terms(100, 5.0)["optimization"] for j in (0, 10, 1000, 10000)]
    assert values == sorted(values, reverse=True)
    assert replace(ZHOU, steps=0).terms(100, 5.0)["optimization"] == pytest.approx(301 * math.sqrt(100), rel=EXACT)


def test_constants_switch_terms_off():
    terms = replace(ZHOU, constants=(0, 0, 0), steps=10**6).terms(1000, 50.0)
    assert terms["confidence"] == pytest.approx(LIMIT(1000, 50.0), rel=EXACT)


def test_constant():
    assert ConstantExploration(0.3)(10, 2.0) == 0.3


def test_refusals():
    with pytest.raises(KernelError, match=r"η·m·λ = 1.*below η = .*NTK parametrization"):
        replace(ZHOU, learning_rate=1 / 4096)
    with pytest.raises(KernelError, match="delta"):
        replace(LIMIT, delta=1.0)
    with pytest.raises(KernelError, match="regularization"):
        replace(ZHOU, regularization=0.0)
    with pytest.raises(KernelError, match="nu and norm_bound"):
        replace(LIMIT, nu=-1.0)
    with pytest.raises(KernelError, match="three finite numbers"):
        replace(ZHOU, constants=(1.0, -1.0, 1.0))
    with pytest.raises(KernelError, match="width ≥ 2"):
        replace(ZHOU, width=1)
    with pytest.raises(KernelError, match="gamma"):
        ConstantExploration(math.nan)


@pytest.mark.parametrize("name", ["width", "depth", "steps", "learning_rate"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1])
def test_sizes_that_are_none_are_refused(name, value):
    with pytest.raises(KernelError, match="integers width ≥ 2, depth ≥ 1, steps ≥ 0"):
        replace(ZHOU, **{name: value})


@pytest.mark.parametrize("schedule", [LIMIT, ZHOU], ids=["limit", "zhou"])
@pytest.mark.parametrize(
    ("rounds", "log_determinant"), [(5, -10), (-5, 1.0), (math.nan, 1.0), (5, math.nan), (5, math.inf)]
)
def test_states_that_no_design_is_in_are_refused(schedule, rounds, log_determinant):
    with pytest.raises(KernelError, match=r"t ≥ 0 rounds and log det Z/det λI ≥ 0"):
        schedule(rounds, log_determinant)
    with pytest.raises(KernelError, match=r"t ≥ 0 rounds"):
        ZHOU.terms(rounds, log_determinant)


@pytest.mark.parametrize("schedule", [LIMIT, ZHOU], ids=["limit", "zhou"])
def test_rounding_below_zero_is_none(schedule):
    assert schedule(5, -1e-9) == schedule(5, 0.0)
