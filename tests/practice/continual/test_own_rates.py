"""Networks that learn together, each at its own learning rates."""

import pytest
import torch

import ntkgap as ng
from ntkgap.errors import StudyError
from tests.practice.continual.made import mlp, stream
from tests.tolerances import EXACT

RATES = [[0.01, 0.02, 0.03], [0.02, 0.02, 0.001]]


def train(networks, tasks, rates, seeds, **settings):
    return ng.continual.train_tasks(
        networks, tasks, learning_rate=rates, seeds=seeds, **{"stop": ng.continual.Steps(12), **settings}
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "momentum": 0.5, "batch_size": 2},
        {"optimizer": "sgd", "schedule": lambda step: 1 / (1 + step)},
        {"optimizer": "sgd", "schedule": lambda own: torch.optim.lr_scheduler.StepLR(own, 3)},
        {"stop": ng.continual.UntilAccuracy(0.9, at_most=40)},
        {"method": ng.continual.OGD()},
        {"method": ng.continual.EWC(0.3)},
        {"method": ng.continual.Replay(2)},
    ],
    ids=lambda s: "-".join(map(str, s)) or "plain",
)
def test_are_those_of_each_alone(settings):
    tasks, networks = [stream(seed) for seed in (3, 4)], [mlp(seed) for seed in (3, 4)]
    together = train(networks, tasks, RATES, [3, 4], **settings)
    for i in range(2):
        alone = train([networks[i]], tasks[i], RATES[i], [3 + i], **settings)
        of_both = together.of(i)
        for name in ("scores", "train_losses", "moved", "distance", "steps", "diverged"):
            torch.testing.assert_close(getattr(of_both, name), getattr(alone, name), rtol=EXACT, atol=EXACT)
    other = train(networks, tasks, RATES[0], [3, 4], **settings)
    assert not torch.allclose(other.moved[1], together.moved[1], rtol=1e-3)


def test_of_joint_training_and_of_arrays():
    networks, tasks = [mlp(0), mlp(1)], stream()
    joint = train(
        networks, tasks, torch.tensor([[0.01], [0.02]], dtype=torch.float64), [0, 1], method=ng.continual.Joint()
    )
    alone = train(networks[1:], tasks, 0.02, [1], method=ng.continual.Joint())
    torch.testing.assert_close(joint.of(1).distance, alone.distance, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize(
    ("rates", "settings", "message"),
    [
        ([[0.1] * 3], {}, "2 networks but 1 lists"),
        ([[0.1] * 3, 0.1, 0.1], {}, "2 networks but 1 lists"),
        ([[0.1] * 3, [0.2] * 2], {}, "3 phases but 2 learning rates"),
        ([[0.1] * 3, [0.2, -0.1, 0.2]], {}, "learning_rate"),
        (RATES, {"optimizer": "adam"}, "for 'gd' and 'sgd' without weight_decay and clip"),
        (RATES, {"optimizer": "sgd", "weight_decay": 0.1}, "for 'gd' and 'sgd' without weight_decay and clip"),
        (RATES, {"clip": 1.0}, "for 'gd' and 'sgd' without weight_decay and clip"),
        (RATES, {"optimizer": torch.optim.SGD}, "for 'gd' and 'sgd' without weight_decay and clip"),
        (RATES, {"stop": ng.continual.KernelTime(0.3)}, "KernelTime takes other numbers of steps"),
    ],
)
def test_what_they_are_not_for_is_refused(rates, settings, message):
    with pytest.raises(StudyError, match=message):
        train([mlp(0), mlp(1)], stream(), rates, [0, 1], **settings)


def test_equal_ones_are_those_of_all_whatever_the_optimizer():
    networks, tasks = [mlp(0), mlp(1)], stream()
    for settings in ({"optimizer": "adam", "clip": 1.0}, {"stop": ng.continual.KernelTime(0.3)}):
        listed = train(networks, tasks, [[0.01] * 3] * 2, [0, 1], **settings)
        assert torch.equal(listed.distance, train(networks, tasks, 0.01, [0, 1], **settings).distance)
