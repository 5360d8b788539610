"""What finite networks do: training, and how far it takes them from their linearization.

``training``, ``optimizers``, ``laplace``, ``bandits``, ``continual`` and ``monitor`` are packages of their own;
the names of the first three are repeated here.
"""

from typing import TYPE_CHECKING

from ntkgap import names
from ntkgap.practice.calibration import (
    Calibration,
    ClassCalibration,
    calibration,
    classification_calibration,
)
from ntkgap.practice.laplace import (
    HyperparameterChoice,
    LaplacePrediction,
    LinearizedLaplace,
    OnlineLaplace,
    online_laplace,
)
from ntkgap.practice.optimizers import (
    JacobianSearch,
    NaturalGradientCurve,
    kfac_descent,
    natural_gradient_descent,
    search_jacobian_change,
)
from ntkgap.practice.training import (
    CoordinateCheck,
    LogarithmicGrid,
    TrainedEnsemble,
    TrainingCurve,
    Trial,
    Tuning,
    coordinate_check,
    final_loss,
    linearize,
    mean_loss,
    train,
    train_ensemble,
    tune,
)

__all__ = [
    "Calibration",
    "ClassCalibration",
    "CoordinateCheck",
    "HyperparameterChoice",
    "JacobianSearch",
    "LaplacePrediction",
    "LinearizedLaplace",
    "LogarithmicGrid",
    "NaturalGradientCurve",
    "OnlineLaplace",
    "TrainedEnsemble",
    "TrainingCurve",
    "Trial",
    "Tuning",
    "calibration",
    "classification_calibration",
    "coordinate_check",
    "final_loss",
    "kfac_descent",
    "linearize",
    "mean_loss",
    "natural_gradient_descent",
    "online_laplace",
    "search_jacobian_change",
    "train",
    "train_ensemble",
    "tune",
]

if not TYPE_CHECKING:  # type checkers are to see the names that are here
    __getattr__ = names.moved_out_of("practice")
