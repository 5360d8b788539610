"""What finite networks do: training, and how far it takes them from their linearisation."""

from ntkgap.practice.calibration import Calibration, ClassCalibration, calibration, classification_calibration
from ntkgap.practice.coordinates import CoordinateCheck, coordinate_check
from ntkgap.practice.curves import TrainingCurve
from ntkgap.practice.ensembles import TrainedEnsemble, train_ensemble
from ntkgap.practice.jacobian_drift import jacobian_change
from ntkgap.practice.jacobian_search import JacobianSearch, search_jacobian_change
from ntkgap.practice.kronecker import kfac_descent
from ntkgap.practice.laplace import LinearizedLaplace
from ntkgap.practice.laplace_prediction import LaplacePrediction
from ntkgap.practice.linearized import linearize
from ntkgap.practice.natural_gradient import NaturalGradientCurve, natural_gradient_descent
from ntkgap.practice.online_laplace import HyperparameterChoice, OnlineLaplace, online_laplace
from ntkgap.practice.training import train
from ntkgap.practice.tuning import LogarithmicGrid, Trial, Tuning, final_loss, mean_loss, tune

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
    "jacobian_change",
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
