import pytest
import torch

import ntkgap as ng
from ntkgap.errors import DataError
from ntkgap.practice.bandits import classification_environment, make_environment, wheel_environment


def test_the_wheel_pays_by_radius_and_quadrant():
    for variant, fifth_outside in (("paper", 1.0), ("released", 1.2)):
        train, _ = ng.load_data("wheel", 3000, 10, seed=1, delta=0.7, variant=variant)
        assert (train.x.norm(dim=1) <= 1 + 1e-6).all()
        best_outside = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}
        for x, means in zip(train.x, train.y, strict=True):
            expected = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.2])
            if x.norm() > 0.7:
                expected[4] = fifth_outside
                expected[best_outside[bool(x[0] > 0), bool(x[1] > 0)]] = 50.0
            assert torch.equal(means, expected)


def test_the_disc_is_uniform():
    train, _ = ng.load_data("wheel", 20000, 10, delta=0.5)
    # Second moments of the unit disc: 1/4 each; a radius is below r with probability r².
    assert torch.allclose(train.x.square().mean(dim=0), torch.full((2,), 0.25), atol=4 * 0.5 / 20000**0.5)
    below = (train.x.norm(dim=1) < 0.3).double().mean()
    assert abs(below - 0.09) < 4 * (0.09 * 0.91 / 20000) ** 0.5


def test_noise_of_both_wheels():
    for variant, ordinary in (("paper", 0.01), ("released", 0.05)):
        train, _ = ng.load_data("wheel", 4000, 10, variant=variant)
        environment = wheel_environment(train, variant, seed=3)
        noise = environment.rewards - environment.means
        assert noise[train.y < 50].std() == pytest.approx(ordinary, rel=0.05)
        assert noise[train.y == 50].std() == pytest.approx(0.01, rel=0.1)
        assert torch.equal(environment.rewards, wheel_environment(train, variant, seed=3).rewards)
        assert not torch.equal(environment.rewards, wheel_environment(train, variant, seed=4).rewards)


def test_the_right_class_pays():
    train, _ = ng.load_data("digits", 300, 10, scaling="unit_norm")
    environment = classification_environment(train, seed=1)
    assert environment.rounds == 300
    assert environment.arms == 10
    assert torch.equal(environment.means, environment.rewards)
    # The same pairs of example and class, in another order.
    pairs = torch.cat([train.x, train.y], dim=1)
    found = torch.cat([environment.contexts, environment.means], dim=1)
    order = torch.cdist(found.double(), pairs.double()).argmin(dim=1)
    assert torch.equal(found, pairs[order])
    assert sorted(order.tolist()) == list(range(300))
    assert order.tolist() != list(range(300))


def test_codings_of_classes_do_not_matter():
    x = torch.randn(50, 3)
    labels = torch.arange(50) % 2
    signs = ng.Dataset(x, 2.0 * labels[:, None] - 1, 2)
    one_hot = ng.Dataset(x, torch.nn.functional.one_hot(labels).float(), 2)
    a, b = (classification_environment(data, seed=5) for data in (signs, one_hot))
    assert torch.equal(a.means, b.means)
    assert torch.equal(a.contexts, b.contexts)


def test_mushrooms_are_risky():
    labels = torch.arange(6000) % 2
    data = ng.Dataset(labels[:, None].float(), torch.nn.functional.one_hot(labels).float(), 2)
    environment = classification_environment(data, "mushroom", seed=2)
    poisonous = environment.contexts[:, 0] == 1
    assert not environment.rewards[:, 0].any()
    assert not environment.means[:, 0].any()
    assert (environment.rewards[~poisonous, 1] == 5).all()
    assert (environment.means[~poisonous, 1] == 5).all()
    assert (environment.means[poisonous, 1] == -15).all()
    eaten = environment.rewards[poisonous, 1]
    assert set(eaten.tolist()) == {-35.0, 5.0}
    assert abs((eaten == 5).double().mean() - 0.5) < 4 * 0.5 / 3000**0.5


def test_features_and_units():
    train, _ = ng.load_data("wheel", 200, 10)
    raw = make_environment(train, "wheel_paper", seed=1)
    assert torch.equal(raw.contexts, train.x)
    unit = make_environment(train, "wheel_paper", features="unit_norm", seed=1)
    lifted = make_environment(train, "wheel_paper", features="lifted", reward_unit=50, seed=1)
    for environment in (unit, lifted):
        environment.check_unit_norm("the test")
    # Lifting keeps the contexts, up to one factor.
    assert torch.allclose(lifted.contexts[:, :2] * train.x.norm(dim=1).max(), train.x)
    assert torch.allclose(lifted.means * 50, raw.means)
    assert torch.allclose(lifted.rewards * 50, raw.rewards)
    with pytest.raises(DataError, match=r"needs contexts of unit norm, but context 0 .*normalized"):
        raw.check_unit_norm("NeuralUCB")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda wheel, digits: make_environment(wheel), "needs data with classes"),
        (lambda wheel, digits: make_environment(digits, "mushroom"), "for two classes, these data have 10"),
        (lambda wheel, digits: make_environment(digits, "wheel_paper"), "use load_data"),
        (lambda wheel, digits: make_environment(digits, "gold"), "unknown rewards 'gold'"),
        (lambda wheel, digits: make_environment(digits, features="nice"), "unknown features 'nice'"),
        (lambda wheel, digits: make_environment(digits, reward_unit=0.0), "must be a positive number"),
        (lambda wheel, digits: classification_environment(digits, "gold"), "unknown reward 'gold'"),
        (lambda wheel, digits: wheel_environment(wheel, "other"), "unknown variant 'other'"),
        (
            lambda wheel, digits: make_environment(digits, encoding="disjont"),
            "'disjont'; choose one of disjoint, out",
        ),
    ],
)
def test_what_makes_no_bandit_is_named(make, words):
    wheel, _ = ng.load_data("wheel", 5, 5)
    digits, _ = ng.load_data("digits", 20, 5)
    with pytest.raises(DataError, match=words):
        make(wheel, digits)


@pytest.mark.parametrize("played", ["paper", "released"])
def test_each_wheel_is_played_with_its_own_rewards(played):
    loaded = "released" if played == "paper" else "paper"
    data, _ = ng.load_data("wheel", 40, 10, variant=loaded)
    fifth = {"paper": "1", "released": "1.2"}
    with pytest.raises(DataError, match=rf"these data have {fifth[loaded]} there.*variant='{played}'"):
        make_environment(data, f"wheel_{played}")
    # Inside of δ the two have the same means: nothing tells them apart, and nothing has to.
    inside = (data.y < 50).all(dim=1)
    make_environment(ng.Dataset(data.x[inside], data.y[inside]), f"wheel_{played}")
    # In another precision 1.2 is another number, but the same reward.
    data, _ = ng.load_data("wheel", 40, 10, variant=played)
    make_environment(data.to(torch.float64), f"wheel_{played}")


def test_a_game_has_rounds():
    with pytest.raises(DataError, match="at least one round"):
        ng.practice.bandits.Environment(torch.ones(0, 2), torch.ones(0, 2), torch.ones(0, 2))


@pytest.mark.parametrize("name", ["contexts", "means", "rewards"])
def test_arrays_that_are_no_tensors_are_named(name):
    arrays = {"contexts": torch.ones(3, 2), "means": torch.ones(3, 2), "rewards": torch.ones(3, 2)}
    arrays[name] = arrays[name].numpy()
    with pytest.raises(DataError, match=f"{name} must be a torch tensor, got ndarray"):
        ng.practice.bandits.Environment(**arrays)


def test_more_rounds_than_the_data_have_are_refused():
    with pytest.raises(DataError, match="has 1797"):
        ng.load_data("digits", 5000, 10)


def test_a_context_with_nan_is_named():
    contexts = torch.ones(3, 2)
    contexts[1, 0] = torch.nan
    with pytest.raises(DataError, match=r"contexts have NaN .* round 1"):
        ng.practice.bandits.Environment(contexts, torch.ones(3, 2), torch.ones(3, 2))
