"""Streams of tasks that are learned one after the other."""

from ntkgap.data.streams.stream import Task, TaskStream, score

__all__ = ["Task", "TaskStream", "score"]
