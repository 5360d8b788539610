"""Learning one task after the other: streams, methods against forgetting, and what kernels predict of it."""

from ntkgap.data import Task, TaskStream, load_stream, stream_of
from ntkgap.practice.continual import *  # noqa: F403
from ntkgap.practice.continual import __all__ as _methods
from ntkgap.studies import predict_tasks
from ntkgap.theory import (
    SequentialRegression,
    forgetting_by_overlap,
    forgotten_residuals,
    joint_duals,
    project_out,
    sequential_duals,
    task_overlap,
)

__all__ = [
    *_methods,
    "SequentialRegression",
    "Task",
    "TaskStream",
    "forgetting_by_overlap",
    "forgotten_residuals",
    "joint_duals",
    "load_stream",
    "predict_tasks",
    "project_out",
    "sequential_duals",
    "stream_of",
    "task_overlap",
]
