"""Training of finite networks: loops, losses, optimizers and schedules, ensembles, and the linearized model.

How it works. ``loop`` trains one network and ``ensembles`` many at once (``members``, ``stacked``); both follow
the rule of ``updates``, with the optimizer of ``optimizer_choice`` on a schedule of ``schedules``, and record a
curve (``curves``). ``network_modes`` knows when batch statistics and random masks are on. ``own_fit`` calls a
user's own training instead.
"""

from ntkgap.practice.training.coordinate_check import CoordinateCheck, coordinate_check
from ntkgap.practice.training.curves import TrainingCurve
from ntkgap.practice.training.ensembles import TrainedEnsemble, train_ensemble
from ntkgap.practice.training.linearized import linearize
from ntkgap.practice.training.loop import train
from ntkgap.practice.training.tuning import LogarithmicGrid, Trial, Tuning, final_loss, mean_loss, tune

__all__ = [
    "CoordinateCheck",
    "LogarithmicGrid",
    "TrainedEnsemble",
    "TrainingCurve",
    "Trial",
    "Tuning",
    "coordinate_check",
    "final_loss",
    "linearize",
    "mean_loss",
    "train",
    "train_ensemble",
    "tune",
]
