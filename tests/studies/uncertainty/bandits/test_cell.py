"""A cell of a bandit: all rules play, and what claims and figures are about is measured."""

import math

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.studies.figures import ComparisonFigure, WidthFigure
from ntkgap.studies.measured import Measured
from ntkgap.studies.uncertainty import UncertaintyStudy, bandits
from ntkgap.studies.uncertainty.bandits.policies import Policies
from tests.tolerances import ITERATED

compute = UncertaintyStudy.compute_cell

EVERYBODY = {
    "rules": [
        "theory",
        "limit",
        "evidence",
        "laplace_ts",
        "neural_linear",
        "ensemble_ts",
        "epsilon_greedy",
        "greedy",
        "laplace_greedy",
    ],
    "tuned": {
        "ucb": [0.1, 1],
        "thompson": [0.1],
        "diagonal": [0.1],
        "lin_ucb": [1],
        "lin_ts": [1],
        "ntk_ucb": [1],
        "nngp_ucb": [1],
    },
}


def tiny(**changes):
    """A study with one small wheel; changes are to its problem."""
    problem = {
        "name": "wheel",
        "kind": "bandit",
        "model": {"architecture": "mlp", "depth": 1, "weight_std": 1.4, "antisymmetric": True},
        "data": {"name": "wheel", "n_train": 12, "n_test": 1, "options": {"delta": 0.5}},
        "rewards": "wheel_paper",
        "reward_unit": 50,
        "encoding": "outputs",
        "training": {"steps": 5, "every": 4},
        "widths": [8],
        "widenings": 0,
        **EVERYBODY,
        **changes,
    }
    return ng.UncertaintyStudy.build({"seeds": [0], "problems": [problem]})


@pytest.fixture(scope="module")
def measured():
    (cell,) = tiny().cells()
    result = compute(cell)
    found = Measured(cell, result["scalars"], result["curves"], result["notes"], result["diverged"], 1.0)
    return tiny().complete([found])[0]


def test_all_that_claims_and_figures_are_about_is_measured(measured):
    for claim in bandits.claims():
        assert claim.quantity in measured.scalars, claim.key
    for figure in bandits.figures():
        if isinstance(figure, WidthFigure):
            assert {figure.measured, *(name for name, _ in figure.references)} <= set(measured.scalars)
        if isinstance(figure, ComparisonFigure):
            for line in figure.lines:
                assert len(measured.curves[line.measured]) == len(measured.curves[line.seconds]), line
    assert not measured.diverged


def test_a_cell_is_a_function_of_its_configuration_but_for_its_clocks(measured):
    again = compute(tiny().cells()[0])
    for name, value in again["scalars"].items():
        if not name.startswith("seconds"):
            assert value == measured.scalars[name] or math.isnan(value), name


def test_the_tables_and_answers_name_every_rule(measured):
    (table,) = bandits.tables({"wheel": [measured]}, [])
    assert {row[0] for row in table.rows} == set(bandits.rules.LABELS.values())
    constants = {row[0]: row[-3] for row in table.rows}
    assert constants[bandits.rules.LABELS["ucb"]].endswith("(edge)")  # of two constants both are edges
    assert constants[bandits.rules.LABELS["ntk_ucb"]] == "1"  # the only one
    (answers,) = bandits.answers({"wheel": [measured]}, [])
    assert answers.rows[0][0] == "wheel"
    assert bandits.answers({}, []) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rules": ["theory", "theory"]}, "named twice"),
        ({"rules": [], "tuned": {}}, "nobody plays"),
        ({"tuned": {"ucb": [0.1, 0.10000001]}}, "each once"),
        ({"widths": [1]}, "widths from 2 on"),
        ({"training": {"batch_size": 4}}, "for 'sgd' and 'adam' only"),
        ({"tuned": {"ucb": [0.1, 0.1]}}, "each once"),
        ({"tuned": {"ucb": []}}, "ucb needs at least one constant"),
        ({"initial_pulls": -1}, "initial_pulls"),
        ({"widenings": -1}, "widenings"),
        ({"arms": "sorted"}, "arms"),
        ({"model": {"architecture": "shallow"}}, "NTK parametrization"),
        ({"training": {"steps": 0}}, "steps"),
        ({"mean": "linearized", "training": {"optimizer": "adam"}}, "linearized mean"),
        ({"regularization": 100.0, "training": {"learning_rate": 1.0}}, "η·m·λ"),
    ],
)
def test_games_that_cannot_be_played_are_refused(changes, words):
    with pytest.raises(StudyError, match=words):
        tiny(**changes)


def test_theory_is_not_played_on_contexts_that_it_does_not_cover():
    raw = tiny(features="raw", rules=["theory"])
    with pytest.raises(StudyError, match=r"unit norm.*features: lifted"):
        raw.check()
    tiny(features="raw", rules=["evidence"]).check()


def test_the_norm_of_the_rewards_is_what_the_theorem_asks_for(measured):
    """It is in the rewards' unit, the same whatever α, and may be given."""
    assert measured.scalars["bandit_norm_bound"] > 1
    lazy = {"architecture": "mlp", "depth": 1, "weight_std": 1.4, "antisymmetric": True, "alpha": 10.0}
    other = compute(tiny(model=lazy, rules=["limit"], tuned={}).cells()[0])["scalars"]
    assert other["bandit_norm_bound"] == pytest.approx(measured.scalars["bandit_norm_bound"], rel=ITERATED)
    given = tiny(rules=["limit"], tuned={}, schedule={"norm_bound": 2.5})
    assert compute(given.cells()[0])["scalars"]["bandit_norm_bound"] == 2.5


def test_the_order_of_arms_is_the_seeds():
    given, back, *shuffled = (
        tiny(arms=arms).problems[0].environment(seed).means
        for arms, seed in (("given", 0), ("reversed", 0), ("shuffled", 0), ("shuffled", 0), ("shuffled", 1))
    )
    assert torch.equal(back, given.flip(1))
    assert torch.equal(shuffled[0], shuffled[1])
    assert sorted(shuffled[0].T.tolist()) == sorted(given.T.tolist())
    places = {tuple(tiny().problems[0].environment(s).means.max(dim=0).values.tolist()) for s in range(4)}
    assert len(places) > 1


def test_initial_pulls_reach_the_game():
    found = compute(tiny(initial_pulls=2, rules=[], tuned={"lin_ucb": [1]}).cells()[0])["scalars"]
    none = compute(tiny(rules=[], tuned={"lin_ucb": [1]}).cells()[0])["scalars"]
    assert found["bandit_lin_ucb_1_regret"] != none["bandit_lin_ucb_1_regret"]
    with pytest.raises(StudyError, match="initial_pulls: 3 of 5 arms take 15 rounds, but the game has 12; lower"):
        tiny(initial_pulls=3).check()


def test_a_tuned_rule_tries_more_than_it_was_given_where_that_is_allowed(measured):
    given = compute(tiny(rules=[], tuned={"lin_ucb": [0.1, 1]}, widenings=0).cells()[0])
    assert given["curves"]["bandit_lin_ucb_tried"] == [0.1, 1]
    wider = compute(tiny(rules=[], tuned={"lin_ucb": [0.1, 1]}, widenings=3).cells()[0])
    tried = wider["curves"]["bandit_lin_ucb_tried"]
    assert 2 < len(tried) <= 5
    assert all(f"bandit_lin_ucb_{c:g}_regret" in wider["scalars"] for c in tried)


def test_the_schedule_is_far_above_its_limit_at_any_width(measured):
    factor, far = (measured.scalars[f"bandit_schedule_factor{place}"] for place in ("", "_far"))
    assert factor > far > 1


def test_members_of_an_ensemble_differ():
    problem = tiny().problems[0]
    environment = problem.environment(0)
    network = problem.network(problem.template(environment), 8, torch.Generator().manual_seed(0))
    policy = Policies(problem, environment, network, 8, stream=3).fixed("ensemble_ts")
    first, second = (member.predict(environment.inputs(0)) for member in policy.members[:2])
    assert not torch.allclose(first, second)
    assert len({m.generator.initial_seed() for m in policy.members}) == len(policy.members)


def test_laziness_leaves_the_prior_alone():
    """α² times the kernel with α² times λ: at θ₀ the rule explores alike."""
    lazy = {"architecture": "mlp", "depth": 1, "weight_std": 1.4, "antisymmetric": True, "alpha": 10.0}
    scalars = [
        compute(tiny(training={"steps": 1, "every": 12, "learning_rate": 1e-9}, **change).cells()[0])["scalars"]
        for change in ({}, {"model": lazy})
    ]
    for name in ("bandit_limit_half_width", "bandit_limit_log_determinant", "bandit_ucb_1_regret"):
        assert scalars[0][name] == pytest.approx(scalars[1][name], rel=1e-5), name
