"""What cannot be trained, or makes no sense, is refused in words."""

import numpy as np
import pytest
import torch
from torch import nn

import ntkgap as ng
from ntkgap.errors import ModelError, StudyError
from tests.practice.continual.made import FEATURES, OUTPUTS, linear, mlp, stream, trained
from tests.tolerances import SINGLE


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"networks": []}, "0 networks"),
        ({"streams": [stream(), stream()]}, "1 networks and 2 streams"),
        ({"networks": [mlp(outputs=1)]}, "have 1 outputs, but"),
        ({"learning_rate": [0.1, 0.1]}, "3 phases but 2 learning rates"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"learning_rate": "a"}, "learning_rate must be positive"),
        ({"learning_rate": None}, "learning_rate must be positive"),
        ({"networks": mlp()}, "give a list of networks"),
        ({"networks": [mlp(dtype=torch.float32)]}, r"compute in torch.float32.*give stream\.to"),
        ({"streams": None}, "streams must be a TaskStream"),
        ({"streams": [1]}, "streams must be a TaskStream"),
        ({"networks": [1]}, "give a list of networks"),
        ({"seeds": ["a"]}, "seeds must be integers"),
        ({"seeds": 1.5}, "seeds must be integers"),
        ({"learning_rate": [torch.tensor([0.1, 0.2]), 0.1, 0.1]}, "learning_rate must be positive"),
        ({"seeds": [2**70]}, "seeds must be integers of 64 bits"),
        ({"observe": "x"}, "observe must be a function"),
        ({"curve_points": 2.5}, "curve_points must be an integer"),
        ({"curve_points": -1}, "curve_points must be an integer of at least 0"),
        ({"optimizer": "sgd", "batch_size": 2.5}, "batch_size must be an integer"),
        ({"optimizer": "lion"}, "unknown optimizer"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS evaluates the loss several times"),
        ({"optimizer": torch.optim.AdamW, "method": ng.continual.OGD()}, "Adam bends"),
        ({"optimizer": torch.optim.SGD, "stop": ng.continual.KernelTime(0.3)}, "KernelTime counts steps"),
        ({"schedule": lambda step: 1.0, "stop": ng.continual.KernelTime(0.3)}, "KernelTime counts steps"),
        ({"loss": nn.L1Loss(), "method": ng.continual.EWC(1.0)}, "Fisher information of the loss"),
        ({"fit": lambda *_: None, "stop": None}, "would not see learning_rate"),
        (
            {"fit": lambda *_: None, "stop": None, "learning_rate": None, "method": ng.continual.OGD()},
            "knows nothing of",
        ),
        ({"fit": lambda *_: 1 / 0, "stop": None, "learning_rate": None}, "raised ZeroDivisionError"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must be"),
        ({"batch_size": 2}, "for minibatches use 'sgd'"),
        ({"optimizer": "sgd", "batch_size": 99}, "between 1 and the 5"),
        ({"optimizer": "sgd", "momentum": 1.0}, "momentum"),
        ({"loss": "hinge"}, "unknown loss"),
        ({"streams": stream(classes=False), "loss": "cross_entropy"}, "one-hot or probabilities"),
        ({"seeds": [1, 2]}, "1 networks but 2 seeds"),
        ({"stop": ng.continual.Steps([3, 3])}, "give one a task"),
        ({"stop": ng.continual.Steps([3] * 9)}, "give one a task"),
        ({"stop": 2}, r"such as Steps\(100\)"),
        ({"method": "ogd"}, r"method must be Joint\(\)"),
        ({"method": ng.continual.OGD(), "optimizer": "adam"}, "Adam bends"),
        ({"stop": ng.continual.KernelTime(1e-9)}, "less than half a step"),
        ({"stop": ng.continual.KernelTime(0.3), "optimizer": "adam"}, "Adam does not follow gradient flow"),
        ({"method": ng.continual.OGD(budget=100.0)}, "would store"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(settings, words):
    given = {
        "networks": [mlp()],
        "streams": stream(),
        "learning_rate": 0.1,
        "stop": ng.continual.Steps(2),
    } | settings
    with pytest.raises(StudyError, match=words):
        ng.continual.train_tasks(given.pop("networks"), given.pop("streams"), **given)


@pytest.mark.parametrize(
    "rate",
    [
        np.float64(0.02),
        np.float32(0.02),
        torch.tensor(0.02),
        np.array(0.02),
        torch.full((3,), 0.02),
        [torch.tensor(0.02)] * 3,
    ],
)
def test_learning_rates_of_numpy_and_torch_are_numbers(rate):
    given, _ = trained(mlp(), stream(), steps=3, learning_rate=rate)
    plain, _ = trained(mlp(), stream(), steps=3)
    torch.testing.assert_close(given.distance, plain.distance, rtol=SINGLE, atol=SINGLE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ng.continual.Steps(0),
        lambda: ng.continual.Epochs(0),
        lambda: ng.continual.UntilAccuracy(1.5),
        lambda: ng.continual.KernelTime(float("inf")),
        lambda: ng.continual.KernelTime("1"),
        lambda: ng.continual.UntilAccuracy("0.9"),
        lambda: ng.continual.EWC("1"),
        lambda: ng.continual.OGD(budget="4GB"),
        lambda: ng.continual.OGD(budget=-1),
        lambda: ng.continual.OGD(examples=0),
        lambda: ng.continual.OGD(directions="some"),
        lambda: ng.continual.PCAOGD(components=0),
        lambda: ng.continual.EWC(-1.0),
        lambda: ng.continual.Replay(0),
        lambda: ng.continual.Replay(2, weight=0.0),
        lambda: ng.continual.Replay(2, weight="a"),
        lambda: ng.continual.Replay(2, weight=True),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(StudyError):
        make()


def test_networks_that_cannot_be_run_together_are_refused():
    def network():
        batch = nn.BatchNorm1d(OUTPUTS, dtype=torch.float64, track_running_stats=False)
        return nn.Sequential(nn.Linear(FEATURES, OUTPUTS, dtype=torch.float64), batch)

    with pytest.raises(ModelError, match=r"'1' .* keeps no running statistics"):
        ng.continual.train_tasks([network(), network()], stream(), learning_rate=0.1, stop=ng.continual.Steps(2))
    with pytest.raises(ModelError, match="one architecture"):
        ng.continual.train_tasks([mlp(), linear()], stream(), learning_rate=0.1, stop=ng.continual.Steps(2))


def test_streams_of_other_sizes_or_other_heads_cannot_be_learned_together():
    with pytest.raises(StudyError, match="same sizes"):
        ng.continual.train_tasks(
            [mlp(), mlp()], [stream(), stream(n=6)], learning_rate=0.1, stop=ng.continual.Steps(2)
        )
    other = stream(columns=[(0, 1), (1, 0)[::-1], (0,)])
    with pytest.raises(StudyError, match="same outputs"):
        ng.continual.train_tasks([mlp(), mlp()], [stream(), other], learning_rate=0.1, stop=ng.continual.Steps(2))
