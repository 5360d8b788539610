"""What cannot be trained, or be trained by: it is named, and the network is left alone."""

import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from tests.practice.training.own import data, mlp, same


class Broken(torch.optim.SGD):
    def step(self):
        raise RuntimeError("no kernel for this")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": lambda ps: torch.optim.SGD(list(ps)[:1], lr=0.1)}, r"ignores parameters .*: 0\.bias, 2\.w"),
        ({"optimizer": lambda ps: torch.optim.SGD([*ps, nn.Parameter(torch.ones(1))], lr=0.1)}, "moves 1 tensors"),
        ({"optimizer": lambda ps: None}, r"returned NoneType, no torch\.optim\.Optimizer"),
        ({"optimizer": lambda ps: 1 / 0}, "failed on a list of parameters: division by zero"),
        (
            {"optimizer": lambda ps: torch.optim.SGD([p for p in ps if p.ndim > 1]), "learning_rate": 0.1},
            "without learning_rate= it is given the bare parameters",
        ),
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)}, "is made already"),
        ({"optimizer": 3}, "must be a name, a class or a function"),
        ({"optimizer": "lbfgs"}, "unknown optimizer 'lbfgs'"),
        ({"optimizer": torch.optim.Adam}, "got None, but optimizer=Adam needs it"),
        ({"optimizer": "gd"}, "got None, but optimizer='gd' needs it"),
        ({"optimizer": torch.optim.LBFGS, "learning_rate": 0.1, "weight_decay": 0.1}, "optimizer=LBFGS failed"),
        (
            {"optimizer": torch.optim.SGD, "weight_decay": -1.0, "learning_rate": 0.1},
            "weight_decay must be finite",
        ),
        ({"optimizer": lambda ps: torch.optim.SGD(ps), "weight_decay": 0.1}, "would not reach"),
        ({"optimizer": Broken, "learning_rate": 0.1}, "optimizer=Broken failed at step 0: no kernel"),
        ({"learning_rate": 0.1, "clip": 0.0}, "clip must be positive"),
        ({"learning_rate": 0.1, "clip": float("nan")}, "clip must be positive"),
        (
            {"learning_rate": 0.1, "loss": lambda f, y: (f - y).square()},
            "tensor of shape .22, 3., but a loss is one",
        ),
        ({"learning_rate": 0.1, "loss": lambda f, y: 1.0}, r"returned 1\.0, but"),
        ({"learning_rate": 0.1, "loss": lambda f, y: (f - y).detach().sum()}, "has no gradient"),
        ({"learning_rate": 0.1, "loss": nn.NLLLoss()}, r"NLLLoss failed on outputs .*targets\.argmax"),
        ({"learning_rate": 0.1, "loss": nn.Linear(3, 3)}, "has parameters of its own"),
        ({"learning_rate": 0.1, "loss": nn.MSELoss}, "unknown loss"),
        ({"learning_rate": 0.1, "schedule": lambda step: -1.0}, "gives -1.0 at step 0"),
        ({"learning_rate": 0.1, "schedule": lambda step: float("nan")}, "gives nan at step 0"),
        ({"learning_rate": 0.1, "schedule": lambda step: 1.0 - step}, "gives -1.0 at step 2"),
        ({"learning_rate": 0.1, "schedule": lambda step: "slow"}, "returned 'slow'"),
        ({"learning_rate": 0.1, "schedule": lambda step: step.no_such}, "took neither a step"),
        ({"learning_rate": 0.1, "schedule": 0.5}, "schedule must be a function"),
        ({"learning_rate": 0.1, "state": {"optimizer": {}}}, "state does not go with"),
        ({"learning_rate": 0.1, "steps": None}, "steps must be an integer of at least 0, got None"),
        ({"learning_rate": 0.1, "batch_size": 2.5, "optimizer": "sgd"}, "batch_size must be between"),
    ],
)
def test_what_cannot_be_trained_by_is_refused(settings, words):
    network = mlp()
    with pytest.raises(StudyError, match=words):
        ng.train(network, data(), **{"steps": 4, **settings})


def test_what_is_refused_before_the_first_step_leaves_the_network_alone():
    network, before = mlp(), mlp()
    with pytest.raises(StudyError):
        ng.train(network, data(), steps=4, optimizer=lambda ps: torch.optim.SGD(list(ps)[:2], lr=0.1))
    with pytest.raises(StudyError):
        ng.train(network, data(), steps=4, learning_rate=0.1, loss=lambda f, y: f.detach().sum())
    same(network, before, 0.0)


def test_a_frozen_network_has_nothing_to_train():
    with pytest.raises(ModelError, match="no parameters that require grad"):
        ng.train(mlp().requires_grad_(False), data(), learning_rate=0.1, steps=2)
    backbone = mlp()
    backbone[0].requires_grad_(False)
    start = backbone[0].weight.clone()
    ng.train(backbone, data(), learning_rate=0.1, steps=2, optimizer=torch.optim.AdamW, weight_decay=0.5)
    assert torch.equal(backbone[0].weight, start)


def test_losses_that_become_nan_end_the_training():
    curve = ng.train(mlp(), data(), learning_rate=0.1, steps=9, loss=lambda f, y: (f - y).mean() * torch.nan)
    assert curve.stopped == "diverged at step 0"
