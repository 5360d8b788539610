"""What finite networks do: training, and how far it takes them from their linearisation."""

from ntkgap.practice.coordinates import CoordinateCheck, coordinate_check
from ntkgap.practice.curves import TrainingCurve
from ntkgap.practice.ensembles import TrainedEnsemble, train_ensemble
from ntkgap.practice.jacobian_drift import jacobian_change
from ntkgap.practice.linearized import linearize
from ntkgap.practice.natural_gradient import natural_gradient_descent
from ntkgap.practice.training import train

__all__ = [
    "CoordinateCheck",
    "TrainedEnsemble",
    "TrainingCurve",
    "coordinate_check",
    "jacobian_change",
    "linearize",
    "natural_gradient_descent",
    "train",
    "train_ensemble",
]
