import importlib
import math
from functools import partial

import numpy as np
import pytest
from rich.console import Console

import ntkgap as ng
from ntkgap.errors import StoreError, StudyError, StudyWarning
from ntkgap.reporting import print_scorecard
from ntkgap.reporting.records import verdict_record
from ntkgap.studies import assess, assess_variations
from ntkgap.studies.assess import measured_cells
from ntkgap.studies.looks import LOOKS, decide_by, deciding_probability
from ntkgap.studies.more_seeds import seed_sequence, still_open
from tests.studies import drawn
from tests.studies.drawn import NO, WORLD, YES, Compared, Drawn, Timed
from tests.sweep.toy import ToyStudy

LONG = 1e9


@pytest.fixture(autouse=True)
def world():
    ng.studies.find_study("tests.studies.drawn:Drawn")
    ng.studies.find_study("tests.studies.drawn:Compared")
    WORLD.clear()
    yield WORLD
    WORLD.clear()


def study(*problems, seeds=(0, 1, 2, 3, 4), kind=Drawn, **settings):
    """Problems are (name, widths)."""
    made = [{"name": name, "widths": list(widths), **settings} for name, widths in problems]
    return kind.build({"seeds": list(seeds), "problems": made})


def decide(monkeypatch, store, asked, budget=LONG, engine=None, **settings):
    engine = engine or Timed()
    with monkeypatch.context() as patch:
        patch.setattr("ntkgap.studies.more_seeds.time", engine)
        runs = ng.decide(asked, store, budget, engine=engine, progress=False, **settings)
    return runs, engine


@pytest.fixture
def run(monkeypatch, tmp_path):
    return partial(decide, monkeypatch, tmp_path / "store")


def off(*seeds):
    """YES but for these seeds."""
    return lambda problem, width, seed: NO if seed in seeds else YES


def by_width(widths):
    return lambda problem, width, seed: widths[width](problem, width, seed)


def test_seeds_are_added_only_where_a_verdict_is_open(run):
    WORLD["a"] = by_width({8: off(1, 3, 5, 7, 9, 11), 16: off(4), 32: off(), 64: off(0, 1, 2)})
    runs, engine = run(study(("p", (8, 16, 32, 64))))
    # Seven of twelve: no look can decide any more. One of six: twelve do. All: six do. Three: twenty do.
    assert engine.seeds() == {("p", 8): 12, ("p", 16): 12, ("p", 32): 6, ("p", 64): 20}
    (verdict,) = assess(runs)
    assert [(r.width, r.state, r.n_seeds) for r in verdict.widths] == [
        (8, "inconclusive", 12),
        (16, "holds", 12),
        (32, "holds", 6),
        (64, "holds", 20),
    ]
    assert "no look to come can decide" in verdict.widths[0].reason
    assert verdict.holds_from == 16
    assert still_open([verdict]) == ""
    assert runs.looks == {"schedule": [[6, 1], [12, 2], [20, 5]], "seeds": list(range(20))}
    assert runs.configuration["seeds"] == [0, 1, 2, 3, 4]


def test_a_width_with_two_claims_has_the_seeds_of_the_open_one(run):
    WORLD.update({"clear": off(), "open": off(2, 5, 8)})
    runs, engine = run(study(("p", (8,))))
    assert engine.seeds() == {("p", 8): 20}
    clear, opened = assess(runs)
    assert (clear.widths[0].n_seeds, opened.widths[0].n_seeds) == (6, 20)
    assert clear.p < 0.001 < 0.03 < opened.p < 0.05  # the seeds beyond its look are on its side as well


def test_first_one_cell_a_width_then_the_widest_then_other_axes(run):
    WORLD["a"] = off()
    asked = study(("p", (8, 32)), ("q", (16,)), variations={"width": 16, "axes": {"strength": [2.0]}})
    runs, engine = run(asked)
    assert [b[:3] for b in engine.begun[:4]] == [("p", 8, 0), ("p", 16, 0), ("q", 16, 0), ("p", 32, 0)]
    assert [b[:3] for b in engine.begun[4:9]] == [("p", 32, s) for s in range(1, 6)]
    varied = [b for b in engine.begun if b[3]]
    assert sorted(varied) == [(p, 16, s, "strength=2.0") for p in "pq" for s in range(5)]
    assert engine.begun[-10:] == varied
    assert [r.n_seeds for v in assess_variations(runs) for r in v.results.values()] == [5, 5, 5, 5]


def test_the_largest_width_first_then_the_highest_gain_a_second(run):
    WORLD["a"] = by_width(
        {8: off(0), 16: off(0, 1), 32: lambda p, w, s: off(0)(p, w, s) if p != "r" else off(0, 1)(p, w, s)}
    )
    asked = study(("p", (8, 16, 32)), ("q", (8, 32)), ("r", (32,)), seeds=range(6))
    _, engine = run(asked, engine=Timed(lambda cell: 3.0 if cell["problem"] == "q" else 1.0))
    steps = list(dict.fromkeys((p, w) for p, w, _, _ in engine.begun[36:]))
    # At the largest width p may be decided next, q too but in thrice the time, r (two of six) by the last look.
    assert steps == [("p", 32), ("q", 32), ("r", 32), ("p", 8), ("q", 8), ("p", 16)]
    r = [seed for problem, _, seed, _ in engine.begun[36:] if problem == "r"]
    assert r == list(range(6, 20))


def test_more_open_claims_are_more_gain(run):
    WORLD.update(
        {
            "a": off(0),
            "b": lambda problem, width, seed: (off(0) if problem == "q" else off())(problem, width, seed),
        }
    )
    _, engine = run(study(("p", (8,)), ("q", (8,))))
    assert list(dict.fromkeys(p for p, _, _, _ in engine.begun[12:])) == ["q", "p"]


def test_it_stops_in_time_and_goes_on_where_it_was(run):
    WORLD["a"] = by_width({8: off(0), 16: off(0, 1, 2)})
    asked = study(("p", (8, 16)))
    engine = Timed(lambda cell: cell["width"])
    runs, _ = run(asked, budget=103.0, engine=engine)  # 8 + 16, four of 16, and in place of the last one of 8
    assert engine.now == 96
    assert engine.seeds() == {("p", 8): 2, ("p", 16): 5}
    (verdict,) = assess(runs)
    assert [r.reason for r in verdict.widths] == [
        f"there is no look at {n} seeds; the first is at 6" for n in (2, 5)
    ]
    assert (
        still_open([verdict])
        == "2 of 2 verdicts open, 1 of them at the largest width, which more seeds may decide"
    )
    budgets = 1
    while still_open(assess(run(asked, budget=100.0, engine=engine)[0])):
        assert engine.now <= 100 * (budgets := budgets + 1) + 3
        assert budgets < 10
    assert len(set(engine.begun)) == len(engine.begun)
    assert engine.seeds() == {("p", 8): 12, ("p", 16): 20}


def test_a_cell_that_would_not_end_is_not_begun_and_a_shorter_one_is(run):
    WORLD["a"] = off(0)
    asked = study(("p", (8, 64)))
    engine = Timed(lambda cell: cell["width"])
    run(asked, budget=6 * 72 + 60.0, engine=engine)  # the first look, and then no time for one more of width 64
    assert engine.seeds() == {("p", 8): 12, ("p", 64): 6}


def test_a_width_of_which_nothing_is_known_is_tried_where_a_third_of_what_is_expected_fits(run):
    WORLD["a"] = off()
    asked = study(("p", (8, 16, 64)))  # after 8 and 16 seconds, 16 + 16·(½·(64/16)² − ½) ≈ 128 are expected, or 43
    runs, engine = run(asked, budget=60.0, engine=Timed(lambda cell: cell["width"]))
    assert ("p", 64) not in engine.seeds()
    assert runs.counts()["pending"] == 18 - len(engine.begun)
    _, engine = run(asked, budget=100.0, engine=Timed(lambda cell: cell["width"]))
    assert engine.begun[0][:3] == ("p", 64, 0)


def test_failed_seeds_are_on_no_side_until_they_are_computed_again(run):
    def fails(problem, width, seed):
        if seed == 3 and not mended:
            raise ValueError("no")
        return YES

    mended = False
    WORLD["a"] = fails
    asked = study(("p", (8,)))
    runs, engine = run(asked)
    assert engine.seeds() == {("p", 8): 12}
    assert [(r.state, r.n_seeds, r.n_unknown) for r in assess(runs)[0].widths] == [("holds", 12, 1)]
    mended = True
    runs, engine = run(asked, retry_failed=True)
    assert engine.seeds() == {("p", 8): 1}
    assert [(r.state, r.n_seeds, r.n_unknown) for r in assess(runs)[0].widths] == [("holds", 6, 0)]


def test_what_diverged_and_what_cannot_be_decided(run):
    WORLD.update(
        {"a": lambda *_: math.inf, "b": lambda *_: math.nan, "c": lambda p, w, s: math.nan if s == 0 else YES}
    )
    runs, _ = run(study(("p", (8,))))
    a, b, c = (v.widths[0] for v in assess(runs))
    assert (a.state, b.state, c.state) == ("fails", "inconclusive", "holds")
    assert (b.interval, b.n_unknown, c.n_unknown, c.n_seeds) == (None, 6, 1, 12)


def test_a_seed_whose_bounds_are_on_both_sides_is_on_neither(run):
    WORLD.update({"a": off(), "a_low": lambda *_: 0.1, "a_high": off(0)})
    runs, _ = run(study(("p", (8,))))
    (result,) = assess(runs)[0].widths
    assert (result.state, result.n_seeds) == ("holds", 12)
    assert (result.interval.low, result.interval.value, result.interval.high) == (0.1, YES, YES)


def test_comparisons_over_width_have_their_seeds_at_both_widths(run):
    WORLD["plain"] = lambda problem, width, seed: 0.2 if width == 8 else (0.3 if seed == 0 else 0.1)
    runs, engine = run(study(("p", (8, 16)), kind=Compared))
    assert engine.seeds() == {("p", 8): 12, ("p", 16): 12}
    plain, ratio = assess(runs)
    assert [r.n_seeds for r in plain.widths] == [6, 6]
    assert [(r.width, r.state, r.n_seeds) for r in ratio.widths] == [(16, "holds", 12)]


def test_seeds_between_two_looks_wait_and_the_rest_is_of_the_first(run, tmp_path):
    """A store with nine seeds planned at once: six of them are looked at, then twelve."""
    WORLD["a"] = off(6, 7, 8)
    ng.run(study(("p", (8, 16, 32)), seeds=range(9)), tmp_path / "store", engine=Timed(), progress=False)
    (plain,) = assess(ng.Runs(tmp_path / "store"))
    assert (plain.state, plain.widths[0].n_seeds, plain.widths[0].looks) == ("inconclusive", 9, None)
    runs, engine = run(study(("p", (8, 16, 32)), seeds=range(9)))
    assert engine.begun == []
    (verdict,) = assess(runs)
    assert [(r.state, r.n_seeds) for r in verdict.widths] == [("holds", 6)] * 3
    assert verdict.trend.n_seeds == 6
    assert {c.seed for c in measured_cells(runs)["p"]} == set(range(6))
    assert {c.seed for c in measured_cells(runs, all_seeds=True)["p"]} == set(range(9))


def test_a_later_plain_run_is_judged_by_the_looks_and_warns_of_seeds_that_are_not(run, tmp_path):
    WORLD["a"] = off(0, 9)
    run(study(("p", (8,))))
    plain = partial(ng.run, store=tmp_path / "store", engine=Timed(), progress=False)
    plain(study(("p", (8, 16)), seeds=range(12)))
    (verdict,) = assess(ng.Runs(tmp_path / "store"))
    assert [(r.state, r.n_seeds, r.next_seeds) for r in verdict.widths] == [
        ("holds", 20, None),
        ("inconclusive", 12, 20),
    ]
    with pytest.warns(StudyWarning, match="filled by looks at 20 seeds: others, such as seed 30"):
        plain(study(("p", (8,)), seeds=(0, 30, 31)))
    assert [r.n_seeds for r in assess(ng.Runs(tmp_path / "store"))[0].widths] == [20, 12]


def test_how_it_was_done_is_said(run, capsys):
    WORLD["a"] = by_width({8: off(0, 1), 16: off(0)})
    runs, _ = run(study(("p", (8, 16))))
    (verdict,) = verdicts = assess(runs)
    assert "(12 seeds, 96% interval)" in verdict.sentence
    print_scorecard(verdicts, Console(width=400), "The promise")
    said = "seeds were added where a verdict was open, with looks at 6, 12 and 20; error 2.1 % a side"
    assert said in capsys.readouterr().out
    (narrow, wide) = verdict_record(verdict, "toy").points
    assert (narrow.looks, round(narrow.confidence, 3), wide.seeds) == ([*LOOKS], 0.958, 12)


def test_progress_says_what_is_being_decided(monkeypatch, tmp_path, capsys):
    WORLD["a"] = by_width({8: off(), 16: off(0)})
    ng.decide(study(("wheel", (8, 16))), tmp_path / "store", LONG, engine=Timed())
    err = capsys.readouterr().err
    assert "6 seeds everywhere\n" in err
    assert "1 of 2 verdicts open, 1 of them at the largest width; wheel, width 16: seeds 6–11\n" in err
    assert "18/18" in err


def test_the_page_says_so_too(run, tmp_path):
    WORLD["a"] = by_width({8: off(0, 1), 16: off(0)})
    runs, _ = run(study(("p", (8, 16))))
    assert "looks at 6, 12 and 20; error 2.1 % a side" in ng.report(runs, tmp_path / "report.html").read_text()


def test_every_group_has_the_seeds_that_the_looks_ask_for(run):
    """Many problems, half of them at the threshold: each is looked at on its own, whatever the others say."""
    sides = np.random.default_rng(0).random((20, 20)) < np.repeat([0.5, 0.95], 10)[:, None]
    WORLD["a"] = lambda problem, width, seed: YES if sides[int(problem), seed] else NO
    runs, engine = run(study(*((str(i), (8,)) for i in range(20))))
    expected = [decide_by([list(np.where(row, 1, -1)[:n]) for n, _ in LOOKS]) for row in sides]
    assert engine.seeds() == {(str(i), 8): found.n_seeds for i, found in enumerate(expected)}
    states = [found.decision if found.decision != "continue" else "inconclusive" for found in expected]
    assert [v.state for v in assess(runs)] == states
    assert len({found.n_seeds for found in expected}) == 3


@pytest.mark.parametrize("p", [0.5, 0.8])
def test_error_and_number_of_seeds_are_those_stated(p):
    """The rule on many sequences at once."""
    times = 200_000
    on = np.random.default_rng(1).random((times, 20)) < p
    decided, seeds, going = np.zeros(times, int), np.zeros(times), np.ones(times, bool)
    for i, (n, k) in enumerate(LOOKS):
        misses = np.stack([n - on[:, :n].sum(1), on[:, :n].sum(1)])
        seeds[going] = n
        for side, missing in zip((1, -1), misses, strict=True):
            decided[going & (missing < k)] = side
        later = max((rank for _, rank in LOOKS[i + 1 :]), default=0)
        going &= (decided == 0) & (misses.min(0) < later)
    rate, mean = deciding_probability(p)
    assert np.mean(decided == 1) == pytest.approx(rate, abs=4 * math.sqrt(rate / times))
    assert seeds.mean() == pytest.approx(mean, abs=4 * seeds.std() / math.sqrt(times))
    if p == 0.5:
        assert rate < 0.0211


def test_seeds_go_on_after_the_studys_own():
    assert seed_sequence([0, 1, 2], 6) == (0, 1, 2, 3, 4, 5)
    assert seed_sequence([7, 3, 5], 6) == (7, 3, 5, 8, 9, 10)
    assert seed_sequence(range(30), 20) == tuple(range(20))
    with pytest.raises(StudyError, match="seed 3 is there twice"):
        seed_sequence([3, 1, 3], 20)


@pytest.mark.parametrize("budget", [0, -1.0, math.nan, math.inf, True, "30m"])
def test_a_budget_that_is_none(tmp_path, budget):
    WORLD["a"] = off()
    with pytest.raises(StudyError, match="budget must be a positive number of seconds"):
        ng.decide(study(("p", (8,))), tmp_path / "store", budget)
    assert not (tmp_path / "store").exists()


def test_what_cannot_be_decided_is_refused(run, tmp_path):
    with pytest.raises(StudyError, match="'drawn' has no claims"):
        run(study(("p", (8,))))
    with pytest.raises(StudyError, match="'toy' has no claims"):
        run(ToyStudy())
    WORLD["a"] = off()
    with pytest.raises(StudyError, match="seed 1 is there twice"):
        run(study(("p", (8,)), seeds=(1, 1)))
    assert not (tmp_path / "store").exists()
    run(study(("p", (8,))))
    with pytest.raises(StoreError, match=r"looks at the seeds 0, 1, 2, 3, 4, 5, …, and not at 7, 8, 9"):
        run(study(("p", (8,)), seeds=(7, 8, 9)))


def test_ctrl_c_keeps_what_is_done(run):
    def interrupted(problem, width, seed):
        if len(engine.begun) == 4:
            raise KeyboardInterrupt
        return YES

    WORLD["a"] = interrupted
    engine = Timed()
    with pytest.raises(KeyboardInterrupt):
        run(study(("p", (8,))), engine=engine)
    WORLD["a"] = off()
    runs, again = run(study(("p", (8,))))
    assert again.seeds() == {("p", 8): 3}
    assert assess(runs)[0].state == "holds"


def test_the_module_has_a_name_of_its_own():
    assert importlib.import_module("ntkgap.studies.more_seeds").decide is ng.decide.__wrapped__
    assert drawn.Drawn is Drawn
