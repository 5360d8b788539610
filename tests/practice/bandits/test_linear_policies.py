import pytest
import torch

from ntkgap.errors import StudyError
from ntkgap.practice.bandits import LinTS, LinUCB, play
from ntkgap.practice.bandits.ridge import REFRESH, RidgeModels
from tests.practice.bandits.games import Spy, small_game
from tests.tolerances import EXACT


def dense_ridge(history, context, arms, precision):
    """Textbook formulas, everything from scratch."""
    x = torch.cat([context, torch.ones(1)]).double()
    means, variances = [], []
    for arm in range(arms):
        rows = [torch.cat([c, torch.ones(1)]).double() for c, _, a, _ in history if a == arm]
        rewards = torch.tensor([r for _, _, a, r in history if a == arm], dtype=torch.float64)
        design = torch.stack(rows) if rows else torch.zeros(0, len(x), dtype=torch.float64)
        z = precision * torch.eye(len(x), dtype=torch.float64) + design.mT @ design
        means.append(x @ torch.linalg.solve(z, design.mT @ rewards))
        variances.append(x @ torch.linalg.solve(z, x))
    return torch.stack(means), torch.stack(variances)


def test_linucb_is_the_textbook_at_every_round():
    def check(context, inputs, decision, history):
        mean, variance = dense_ridge(history, context, 3, 0.7)
        assert torch.allclose(decision.mean, mean, atol=EXACT)
        assert torch.allclose(decision.half_width, 0.4 * variance.sqrt(), atol=EXACT)
        upper = mean + 0.4 * variance.sqrt()
        assert upper[decision.arm] == pytest.approx(float(upper.max()), abs=EXACT)  # arms tie at first

    play(small_game(), Spy(LinUCB(3, 4, alpha=0.4, precision=0.7), check))


@pytest.mark.parametrize("every", [3, 7])
def test_means_are_updated_now_and_then_and_widths_in_every_round(every):
    def check(context, inputs, decision, history):
        told = history[: len(history) // every * every]
        mean, variance = dense_ridge(told, context, 3, 0.7)[0], dense_ridge(history, context, 3, 0.7)[1]
        assert torch.allclose(decision.mean, mean, atol=EXACT)
        assert torch.allclose(decision.half_width, 0.4 * variance.sqrt(), atol=EXACT)

    play(small_game(), Spy(LinUCB(3, 4, alpha=0.4, precision=0.7, every=every), check))


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_rounds_that_are_no_number_of_rounds_are_refused(every):
    with pytest.raises(StudyError, match="every must be an integer"):
        LinTS(3, 4, every=every)


def test_lints_draws_have_the_posteriors_moments():
    environment = small_game(rounds=30)
    policy = LinTS(3, 4, nu=0.5, precision=0.3, generator=torch.Generator().manual_seed(1))
    spy = Spy(policy, lambda *_: None)
    play(environment, spy)
    context, inputs = environment.contexts[0], environment.inputs(0)
    mean, variance = dense_ridge(spy.history, context, 3, 0.3)
    decision = policy.decide(context, inputs)
    assert torch.allclose(decision.mean, mean, atol=EXACT)
    assert torch.allclose(decision.half_width, 0.5 * variance.sqrt(), atol=EXACT)
    # Chances of the arms against draws of the weights from N(μ, ν²Λ⁻¹).
    policy.nu = 50.0
    n = 4000
    chosen = torch.bincount(torch.tensor([policy.decide(context, inputs).arm for _ in range(n)]), minlength=3) / n
    x = torch.cat([context, torch.ones(1)]).double()
    draws = []
    for arm in range(3):
        rows = torch.stack([torch.cat([c, torch.ones(1)]).double() for c, _, a, _ in spy.history if a == arm])
        covariance = torch.linalg.inv(0.3 * torch.eye(5, dtype=torch.float64) + rows.mT @ rows)
        root = torch.linalg.cholesky(covariance)
        weights = torch.randn(20000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(arm))
        draws.append(mean[arm] + 50.0 * (weights @ root.mT) @ x)
    expected = torch.bincount(torch.stack(draws).argmax(0), minlength=3) / 20000
    assert (chosen - expected).abs().max() < 4 * (0.25 / n + 0.25 / 20000) ** 0.5


def test_same_seed_same_game():
    runs = [
        play(small_game(), LinTS(3, 4, generator=torch.Generator().manual_seed(seed))).arms for seed in (5, 5, 6)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_updates_stay_exact_over_refreshes():
    generator = torch.Generator().manual_seed(0)
    phi = torch.randn(3 * REFRESH + 5, 6, dtype=torch.float64, generator=generator)
    rewards = torch.randn(len(phi), dtype=torch.float64, generator=generator)
    followed, at_once = RidgeModels(1, 6, 0.1), RidgeModels(1, 6, 0.1)
    for row, reward in zip(phi, rewards, strict=True):
        followed.add(0, row, float(reward))
    at_once.refit(0, phi, rewards)
    x = torch.randn(6, dtype=torch.float64, generator=generator)
    for a, b in zip(followed.ask(x), at_once.ask(x), strict=True):
        assert torch.allclose(a, b, rtol=EXACT)
    assert torch.allclose(followed.residuals(), at_once.residuals(), rtol=EXACT)
    one_each = followed.ask(torch.stack([x]))
    assert torch.allclose(one_each[0], followed.ask(x)[0], rtol=EXACT)
    assert followed.counts == at_once.counts == len(phi)


def test_numbers_out_of_range_are_named():
    with pytest.raises(StudyError, match="alpha must be"):
        LinUCB(2, 3, alpha=-1.0)
    with pytest.raises(StudyError, match="nu must be"):
        LinTS(2, 3, nu=float("nan"))
    with pytest.raises(StudyError, match="precision must be positive"):
        LinUCB(2, 3, precision=0.0)
