"""Learning tasks one after the other: how networks are trained, and what they forget."""

from ntkgap.practice.continual.cohort import Observer
from ntkgap.practice.continual.conventions import CONVENTIONS
from ntkgap.practice.continual.ewc import EWC
from ntkgap.practice.continual.import_matrix import import_accuracy_matrix
from ntkgap.practice.continual.method import Joint, Method, Plain
from ntkgap.practice.continual.metrics import AccuracyMatrix
from ntkgap.practice.continual.orthogonal_gradients import OGD, PCAOGD
from ntkgap.practice.continual.replay import Replay
from ntkgap.practice.continual.stopping import Epochs, KernelTime, Steps, Stopping, UntilAccuracy
from ntkgap.practice.continual.switches import KernelSwitches
from ntkgap.practice.continual.task_runs import TaskRuns
from ntkgap.practice.continual.train_tasks import train_tasks

__all__ = [
    "CONVENTIONS",
    "EWC",
    "OGD",
    "PCAOGD",
    "AccuracyMatrix",
    "Epochs",
    "Joint",
    "KernelSwitches",
    "KernelTime",
    "Method",
    "Observer",
    "Plain",
    "Replay",
    "Steps",
    "Stopping",
    "TaskRuns",
    "UntilAccuracy",
    "import_accuracy_matrix",
    "train_tasks",
]
