import math

import pytest
import torch

import ntkgap as ng
from ntkgap.data import toy_angle, toy_function
from ntkgap.data.toy import INTERVALS, REACH
from ntkgap.errors import DataError


def test_training_angles_leave_a_gap_and_test_angles_are_an_even_grid_beyond_them():
    train, test = ng.load_data("toy", n_train=40, n_test=11)
    angle = toy_angle(train.x)
    inside = [(low <= angle) & (angle <= high) for low, high in INTERVALS]
    assert [int(part.sum()) for part in inside] == [20, 20]
    torch.testing.assert_close(toy_angle(test.x), torch.linspace(-REACH, REACH, 11))
    torch.testing.assert_close(train.x.norm(dim=1), torch.full((40,), math.sqrt(2)))


def test_targets_are_the_function_and_noise_of_the_size_asked_for():
    train, _ = ng.load_data("toy", n_train=4000, n_test=50, noise=0.3)
    residual = train.y[:, 0] - toy_function(toy_angle(train.x))
    assert float(residual.std()) == pytest.approx(0.3, rel=4 / math.sqrt(2 * 4000))  # four standard errors
    clean, _ = ng.load_data("toy", n_train=30, noise=0)
    torch.testing.assert_close(clean.y[:, 0], toy_function(toy_angle(clean.x)))


def test_draws_go_by_the_seed():
    first, again, other = (ng.load_data("toy", seed=seed)[0].x for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("noise", [-0.1, float("nan"), "loud", True])
def test_impossible_noise_is_refused(noise):
    with pytest.raises(DataError, match="noise must be finite and at least 0"):
        ng.load_data("toy", noise=noise)
