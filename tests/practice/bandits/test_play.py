import math

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from ntkgap.practice.bandits import Decision, Diverged, Environment, Policy, UniformPolicy, make_environment, play


class Scripted(Policy):
    """Chooses as told; diverges where told None."""

    def __init__(self, *script):
        self.script, self.learned = list(script), []

    def decide(self, context, inputs):
        arm = self.script[len(self.learned)]
        if arm is None:
            raise Diverged("as told")
        return Decision(arm, torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.5]))

    def learn(self, context, inputs, arm, reward):
        self.learned.append((arm, reward))

    def diagnose(self):
        return {"rounds": float(len(self.learned))}


def game():
    means = torch.tensor([[1.0, 3.0], [2.0, 0.0], [1.2, 1.6], [0.0, 1.0]])
    return Environment(torch.randn(4, 3), means, means + 10)


def test_books_are_kept():
    policy = Scripted(0, 0, 1, 0)
    run = play(game(), policy, diagnose_at=[2, 4])
    assert policy.learned == [(0, 11.0), (0, 12.0), (1, pytest.approx(11.6)), (0, 10.0)]
    assert run.arms.tolist() == [0, 0, 1, 0]
    assert run.rewards.tolist() == pytest.approx([11, 12, 11.6, 10])
    assert run.regret.tolist() == pytest.approx([2, 2, 2, 3])
    assert run.uniform_regret.tolist() == pytest.approx([1, 2, 2.2, 2.7])
    assert run.oracle_reward.tolist() == pytest.approx([3, 5, 6.6, 7.6])
    assert run.relative_regret == pytest.approx(3 / 2.7)
    assert run.oracle_fraction == pytest.approx(4.6 / 7.6)
    # |mean − (1, 2)| ≤ ½: one, none, both and neither of the arms.
    assert run.covered.tolist() == [0.5, 0, 1, 0]
    assert run.coverage == pytest.approx(1.5 / 4)
    assert run.half_width.tolist() == [0.5] * 4
    assert run.diagnosed_at == (2, 4)
    assert run.diagnoses == {"rounds": [2, 4]}
    assert run.diverged is None


def test_divergence_is_reported():
    run = play(game(), Scripted(1, 0, None), diagnose_at=[1, 4])
    assert run.diverged == "round 3: as told"
    assert run.arms.tolist() == [1, 0, -1, -1]
    assert run.regret.tolist() == [0, 0, math.inf, math.inf]
    assert run.relative_regret == math.inf
    assert run.oracle_fraction == -math.inf
    assert run.rewards.isnan().tolist() == [False, False, True, True]
    assert run.diagnosed_at == (1,)


def test_what_cannot_be_played_is_named():
    with pytest.raises(StudyError, match="diagnose_at must be ascending"):
        play(game(), Scripted(0, 0, 0, 0), diagnose_at=[5])
    same = Environment(torch.randn(2, 3), torch.ones(2, 2), torch.ones(2, 2))
    with pytest.raises(StudyError, match="equally good"):
        play(same, Scripted(0, 0))


@pytest.mark.parametrize("delta", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_chance_and_caution_on_the_wheel_match_their_analytic_regret(variant, delta):
    n = 3000
    train, _ = ng.load_data("wheel", n, 10, seed=2, delta=delta, variant=variant)
    environment = make_environment(train, f"wheel_{variant}", seed=3)
    inside, outside = delta**2, 1 - delta**2
    uniform = 0.16 * inside + (39.2 if variant == "paper" else 39.16) * outside
    run = play(environment, UniformPolicy(5, torch.Generator().manual_seed(4)))
    steps = run.regret.diff(prepend=torch.zeros(1))
    error = steps.std() / n**0.5
    assert abs(steps.mean() - uniform) < 3 * error
    # What uniform choice loses in expectation varies with the contexts alone.
    expected = run.uniform_regret.diff(prepend=torch.zeros(1))
    assert abs(expected.mean() - uniform) < 3 * expected.std() / n**0.5
    # Arm 5 is right inside, and outside it pays 1.0 or 1.2 in place of 50.
    fifth = (49 if variant == "paper" else 48.8) * outside
    caution = environment.regrets()[:, 4].double()
    assert abs(caution.mean() - fifth) < 3 * caution.std() / n**0.5


def test_relative_regret_of_chance_is_about_one():
    train, _ = ng.load_data("digits", 1000, 10)
    run = play(make_environment(train), UniformPolicy(10, torch.Generator().manual_seed(0)))
    assert run.relative_regret == pytest.approx(1, abs=3 * (0.1 / 0.9 / 1000) ** 0.5)
    assert math.isnan(run.coverage)


def test_a_policy_plays_once():
    policy = Scripted(0, 1, 0, 1)
    assert not policy.played
    play(game(), policy)
    assert policy.played
    assert not Scripted(0).played
    with pytest.raises(StudyError, match=r"this Scripted has played before.*build a new one for every game"):
        play(game(), policy)
    diverged = Scripted(None)
    play(game(), diverged)
    with pytest.raises(StudyError, match="has played before"):
        play(game(), diverged)


@pytest.mark.parametrize("arms", [1, 3])
def test_chance_is_for_all_arms_of_the_game(arms):
    with pytest.raises(StudyError, match=f"this UniformPolicy is for {arms} arms, but the environment has 2"):
        play(game(), UniformPolicy(arms))


@pytest.mark.parametrize("arms", [0, -1, 2.0, True])
def test_chance_needs_an_arm(arms):
    with pytest.raises(StudyError, match="arms must be an integer of at least 1"):
        UniformPolicy(arms)


@pytest.mark.parametrize(
    ("means", "widths", "words"),
    [
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], "has 2 arms"),
        ([0.0, 0.0], [math.nan, 1.0], "NaN or negative"),
        ([0.0, 0.0], [-1.0, 1.0], "NaN or negative"),
    ],
)
def test_decisions_that_are_none_are_refused(means, widths, words):
    class Broken(Scripted):
        def decide(self, context, inputs):
            return Decision(0, torch.tensor(means), torch.tensor(widths))

    with pytest.raises(StudyError, match=words):
        play(game(), Broken())
