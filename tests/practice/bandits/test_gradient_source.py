"""Gradients of coming rounds, computed at once, are those that each round would have got alone."""

import pytest
import torch

from ntkgap.errors import StudyError
from ntkgap.models import MLP
from ntkgap.practice.bandits import Environment, NeuralUCB, RewardModel, RewardTraining, play
from ntkgap.practice.bandits.gradient_source import GradientSource
from ntkgap.practice.bandits.policy import Diverged
from tests.tolerances import EXACT


@pytest.mark.parametrize("outputs", [1, 3])
def test_answers_ahead_are_those_of_single_questions(generator, outputs):
    network = MLP(4, outputs, width=8, depth=1, generator=generator).double()
    rounds = [torch.randn(3 if outputs == 1 else 1, 4, dtype=torch.float64, generator=generator) for _ in range(5)]
    asked = []

    def ahead(room):
        asked.append(room)
        return rounds[1:4]

    together, alone = GradientSource(network, ahead), GradientSource(network)
    for t in (0, 1, 1, 3, 4):  # one twice, one left out, one that nobody foresaw
        (values, gradients), (expected, truth) = together(rounds[t]), alone(rounds[t])
        torch.testing.assert_close(values, expected, rtol=EXACT, atol=EXACT)
        torch.testing.assert_close(gradients.products(gradients), truth.products(truth), rtol=EXACT, atol=EXACT)
    assert len(asked) == 2
    assert together(rounds[4])[1] is together(rounds[4])[1]


def test_a_later_round_without_finite_gradients_spoils_no_earlier_one(generator):
    network = MLP(2, 2, width=4, depth=1, generator=generator).double()
    fine, huge = torch.ones(1, 2, dtype=torch.float64), torch.full((1, 2), 1e308, dtype=torch.float64) * 10
    source = GradientSource(network, lambda room: [huge])
    assert torch.isfinite(source(fine)[0]).all()
    with pytest.raises((Diverged, StudyError)):
        source(huge)


@pytest.mark.parametrize("at", ["selection", "initial", "current"])
def test_a_game_is_the_same_whether_contexts_are_known_or_not(generator, at):
    contexts = torch.nn.functional.normalize(torch.randn(30, 3, generator=generator))
    means = torch.rand(30, 2, generator=generator)
    environment = Environment(contexts, means, means, "outputs")
    network = MLP(3, 2, width=8, depth=1, antisymmetric=True, generator=generator)

    class Blind(NeuralUCB):
        def decide(self, context, inputs):
            self.coming = None
            return super().decide(context, inputs)

    seen, blind = (
        play(
            environment,
            kind(RewardModel(network, RewardTraining(5, 0.1, every=7), regularization=0.1), 0.5, at=at),
        )
        for kind in (NeuralUCB, Blind)
    )
    assert torch.equal(seen.arms, blind.arms)
    torch.testing.assert_close(seen.half_width, blind.half_width, rtol=EXACT, atol=EXACT)
