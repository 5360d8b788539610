"""What linear policies refuse, with the two numbers that do not fit."""

import pytest
import torch

from ntkgap.errors import StudyError
from ntkgap.practice.bandits import LinTS, LinUCB, play
from ntkgap.practice.bandits.ridge import RidgeModels
from tests.practice.bandits.games import small_game


@pytest.mark.parametrize("build", [LinUCB, LinTS])
@pytest.mark.parametrize("features", [2, 10])
def test_another_number_of_features(build, features):
    """Both count the constant."""
    words = rf"of {features + 1} features for 3 arms, but were given features of shape \[5\]"
    with pytest.raises(StudyError, match=words):
        play(small_game(features=4), build(3, features))


@pytest.mark.parametrize("build", [LinUCB, LinTS])
@pytest.mark.parametrize(
    ("arms", "features", "words"),
    [
        (-1, 64, "arms must be an integer of at least 1, got -1"),
        (0, 64, "arms must be an integer of at least 1, got 0"),
        (2.0, 64, "arms must be an integer"),
        (True, 64, "arms must be an integer"),
        (5, -1, "features must be an integer of at least 1"),
        (5, 2.5, "features must be an integer of at least 1"),
    ],
)
def test_sizes_out_of_range(build, arms, features, words):
    with pytest.raises(StudyError, match=words):
        build(arms, features)


@pytest.mark.parametrize("build", [LinUCB, LinTS])
def test_a_policy_that_knows_the_answers(build):
    game, policy = small_game(rounds=3), build(3, 4)
    play(game, policy)
    with pytest.raises(StudyError, match=f"this {build.__name__} has played before"):
        play(game, policy)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.ask(torch.ones(4)), r"of 3 features for 2 arms, but were given features of shape \[4\]"),
        (lambda m: m.ask(torch.ones(1)), r"shape \[1\]"),
        (lambda m: m.ask(torch.ones(1, 3)), r"shape \[1, 3\]"),
        (lambda m: m.add(0, torch.ones(1), 1.0), r"shape \[1\]"),
        (lambda m: m.add(-1, torch.ones(3), 1.0), "for 2 arms, but arm -1 was given"),
        (lambda m: m.refit(2, torch.ones(5, 3), torch.ones(5)), "for 2 arms, but arm 2 was given"),
        (lambda m: m.refit(0, torch.ones(5, 3), torch.ones(4)), r"shape \[5, 3\]"),
    ],
)
def test_regressions_refuse_what_would_be_broadcast(call, words):
    with pytest.raises(StudyError, match=words):
        call(RidgeModels(2, 3, 1.0))
